"""The feed-forward network's activations and sizes."""

import math

import pytest
import torch

from minitf.model.feedforward import ACTIVATIONS, projections, swiglu


def test_swiglu_is_silu_of_the_first_half_times_the_second():
    gate, value = torch.tensor([0.5, -2.0]), torch.tensor([3.0, 5.0])
    expected = [g / (1 + math.exp(-g)) * v for g, v in [(0.5, 3.0), (-2.0, 5.0)]]
    assert swiglu(torch.cat([gate, value])).tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("activation", "matrices"), [("relu", 2), ("gelu", 2), ("swiglu", 3)])
def test_number_of_weights_is_as_stated(activation, matrices):
    embed_dim, feedforward_dim = 5, 13
    linear1, linear2 = projections(embed_dim, feedforward_dim, activation)
    weights = linear1.weight.numel() + linear2.weight.numel()
    assert weights == matrices * embed_dim * feedforward_dim
    x = torch.ones(2, 3, embed_dim)
    assert linear2(ACTIVATIONS[activation](linear1(x))).shape == x.shape
