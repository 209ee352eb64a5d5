"""Lengths where rules contradict each other."""

import pytest
import torch

from minitf.config import UserError

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


def test_the_maximum_goes_before_the_minimum(make_model, decode, src):
    found = decode(make_model(), src, min_length=9, max_length_ratio=0, max_length_extra=3)
    assert {len(h[0].tokens) for h in found} == {3}
