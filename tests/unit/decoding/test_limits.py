"""Lengths where rules contradict each other."""

import argparse

import pytest
import torch

from minitf.config import UserError
from minitf.config.schema import DecodingConfig
from minitf.decoding.limits import limits_of

PAD, BOS, EOS = 0, 1, 2


def test_learned_positions_bound_the_length(make_model, decode, src):
    model = make_model(positions="learned", max_length=9, eos=-9.0)
    found = decode(model, src, max_length_extra=50)
    assert max(len(h[0].tokens) for h in found) == 8
    with pytest.raises(UserError, match="too few for a forced prefix of 9 tokens"):
        decode(model, src, prefix=[[3] * 9] * 5)
    longer = torch.nn.functional.pad(src, (10 - src.size(1), 0), value=5)
    with pytest.raises(UserError, match="for 9 positions, too few for a source of 10 tokens"):
        decode(model, longer)


def test_a_prefix_may_be_longer_than_the_maximum(make_model, decode, src):
    found = decode(make_model(), src, prefix=[[4] * 6] * 5, max_length_ratio=0, max_length_extra=2)
    assert [h[0].tokens for h in found] == [[4] * 6] * 5


def test_no_target_at_all(make_model, decode, src):
    found = decode(make_model(), src, max_length_ratio=0, max_length_extra=0)
    assert [h[0].tokens for h in found] == [[]] * 5


def test_a_source_of_padding_is_refused(make_model, decode, src):
    src = src.clone()
    src[3] = PAD
    with pytest.raises(UserError, match="sentence 3 is all padding"):
        decode(make_model(), src)


def test_ratios_are_of_real_numbers():
    """0.29 · 100 is 28.999… in floating point, 0.07 · 100 is 7.000…1."""
    src = torch.full((3, 101), 5)
    for row, length in enumerate((1, 3, 100)):
        src[row, length], src[row, length + 1 :] = EOS, PAD
    model = argparse.Namespace(max_positions=None)

    def lengths(minimum, maximum):
        config = DecodingConfig(
            min_length_ratio=minimum, max_length_ratio=maximum, max_length_extra=20
        )
        found = limits_of(model, src, config, [[]] * 3, pad_id=PAD, eos_id=EOS)
        return found.min_length, found.max_length

    assert lengths(0.5, 0.29) == ([1, 2, 49], [20, 20, 49])
    assert lengths(0.29, 0.5) == ([1, 1, 29], [20, 21, 70])
    assert lengths(0.07, 1.1) == ([1, 1, 7], [21, 23, 130])


def test_the_maximum_goes_before_the_minimum(make_model, decode, src):
    found = decode(make_model(), src, min_length=9, max_length_ratio=0, max_length_extra=3)
    assert {len(h[0].tokens) for h in found} == {3}
