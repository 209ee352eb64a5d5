import pytest
from plain_attention import DropsPaddingInCrossAttention
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
