"""Dropout from sixteen bits: its probability, its scale, and how much is drawn for it."""

import pytest
import torch
import torch.nn.functional as F

from minitf.attention.dropout import dropout

N = 1_000_003


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_probability_and_expectation(p):
    torch.manual_seed(3)
    y = dropout(torch.ones(N, dtype=torch.float64), p)
    sigma = (p * (1 - p) / N) ** 0.5
    assert abs((y == 0).double().mean().item() - p) < 5 * sigma + 2**-17
    assert y[y != 0].unique().tolist() == [pytest.approx(1 / (1 - p), rel=1e-15)]


def test_neighbours_and_calls_are_independent():
    torch.manual_seed(4)
    kept = [(dropout(torch.ones(N), 0.5) != 0).double() - 0.5 for _ in range(2)]
    for lag in range(1, 9):
        assert abs((kept[0][:-lag] * kept[0][lag:]).mean().item()) < 5 * 0.25 / N**0.5
    assert abs((kept[0] * kept[1]).mean().item()) < 5 * 0.25 / N**0.5


def test_gradient_passes_where_the_value_does():
    torch.manual_seed(5)
    x = torch.randn(7, 11, 13, requires_grad=True)
    y = dropout(x, 0.3)
    (grad,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(y.detach(), x.detach() * grad, rtol=0, atol=0)
    assert 0 < (grad == 0).double().mean() < 1


def test_depends_on_values_and_random_state_alone():
    x = torch.randn(5, 7, 3)
    found = []
    for same in (x, x.transpose(0, 1).contiguous().transpose(0, 1)):
        torch.manual_seed(6)
        found.append(dropout(same, 0.4))
    assert torch.equal(*found)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_nothing_and_everything(p):
    x = torch.randn(5, 7)
    assert torch.equal(dropout(x, p), F.dropout(x, p))


def test_an_impossible_probability_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropout(torch.ones(3), 1.5)


@pytest.mark.parametrize("p", [0.99, 0.9999, 0.99999])
def test_the_expectation_holds_near_one(p):
    """There a probability of sixteen bits is no longer the one that the scale belongs to."""
    torch.manual_seed(6)
    n = 30_000_000
    mean = dropout(torch.ones(n), p).double().mean().item()
    assert abs(mean - 1) < 5 * (p / (1 - p) / n) ** 0.5
