import pytest
import torch

from minitf.equivalence.rounding import EXACT, RandomRounding


def tensor(*shape, seed=3):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_and_gradients_move_by_up_to_one_unit(dtype):
    eps = torch.finfo(dtype).eps
    x = tensor(1009).requires_grad_()
    y = RandomRounding(dtype, seed=1)(x)
    y.backward(torch.ones_like(y))
    for moved, exact in ((y.detach(), x.detach()), (x.grad, torch.ones_like(x))):
        relative = ((moved - exact) / exact).abs()
        assert relative.max() <= eps
        assert relative.max() > 0.9 * eps


def test_infinities_stay_what_they_are():
    x = torch.tensor([-torch.inf, torch.inf], dtype=torch.float64)
    assert torch.equal(RandomRounding(torch.float32, 1)(x), x)


def test_a_cancelling_sum_is_rounded_by_its_terms_not_by_its_result():
    a = torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    b = torch.tensor([[1.0], [1.0]], dtype=torch.float64)
    moved = RandomRounding(torch.float32, seed=2).product(a, b)
    assert 0 < moved.abs().item() <= 2 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize("shapes", [((2, 3, 5), (5, 7)), ((2, 3, 5), (2, 5, 7))])
def test_products_have_the_gradients_of_a_product(shapes):
    a, b = (tensor(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes))
    for rounding in (RandomRounding(torch.float64, 1), EXACT):
        a.grad = b.grad = None
        y = rounding.product(a, b)
        y.backward(torch.ones_like(y))
        torch.testing.assert_close(y, a @ b, rtol=0, atol=1e-14)
        found = (a.grad.clone(), b.grad.clone())
        a.grad = b.grad = None
        (a @ b).sum().backward()
        torch.testing.assert_close(found, (a.grad, b.grad), rtol=0, atol=1e-13)
