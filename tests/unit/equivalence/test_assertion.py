import pytest
import torch
from plain_attention import DropsPaddingInCrossAttention, OtherNames
from torch import nn

from minitf.attention import MultiHeadAttention
from minitf.equivalence import assert_equivalent


def test_a_correct_attention_in_one_line():
    assert_equivalent(MultiHeadAttention, "dtype=float32")


def test_a_wrong_one_fails_with_the_reason():
    class Negated(nn.MultiheadAttention):
        def forward(self, query, key, value, **options):
            output, weights = super().forward(query, key, value, **options)
            return -output, weights

    with pytest.raises(AssertionError, match="Negated is not equivalent to torch\nOp, float32:"):
        assert_equivalent(Negated, "dtype=float32")


def test_an_attention_without_counterpart_is_checked_for_its_properties():
    with pytest.raises(AssertionError, match="Properties, float64"):
        assert_equivalent(DropsPaddingInCrossAttention, level="properties")


def test_threads_are_heeded_and_nothing_global_changes():
    before, seen = (torch.get_num_threads(), torch.get_rng_state()), set()

    class Counts(nn.MultiheadAttention):
        def forward(self, *args, **options):
            seen.add(torch.get_num_threads())
            return super().forward(*args, **options)

    assert_equivalent(Counts, "dtype=float32", f"threads={before[0] + 1}", level="properties")
    assert seen == {before[0] + 1}
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_what_cannot_be_compared_is_not_shown_to_be_equivalent():
    with pytest.raises(AssertionError, match="OtherNames is not shown to be equivalent to torch"):
        assert_equivalent(OtherNames, "dtype=float32")
