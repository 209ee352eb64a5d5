"""Blocks of rows: their size must not show in the result."""

import importlib

import pytest
import torch
import torch.nn.functional as F

from minitf.attention import linear
from minitf.model import linear_cross_entropy, packed

module = importlib.import_module("minitf.model.linear_cross_entropy")

N, E, V = 23, 5, 11


def _problem():
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(N, E, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(V, E, generator=generator, dtype=torch.float64).requires_grad_()
    target = torch.randint(0, V, (N,), generator=generator)
    return hidden, weight, target


@pytest.mark.parametrize("rows", [1, 7, 22, 23, 1000])
def test_every_block_size_gives_the_same(monkeypatch, rows):
    monkeypatch.setattr(module, "CPU_BLOCK_BYTES", rows * V * 8)
    hidden, weight, target = _problem()
    found = linear_cross_entropy(hidden, weight, target, label_smoothing=0.1).loss
    grads = torch.autograd.grad(found, [hidden, weight])
    expected = F.cross_entropy(
        hidden @ weight.T, target, label_smoothing=0.1, ignore_index=0, reduction="sum"
    )
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
    for grad, wanted in zip(grads, torch.autograd.grad(expected, [hidden, weight]), strict=True):
        torch.testing.assert_close(grad, wanted, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("intel", "largest"), [(False, V * E), (False, V * E - 1), (True, V * E)])
def test_in_float32_it_is_within_rounding_by_either_library(monkeypatch, intel, largest):
    by_onednn = []
    monkeypatch.setattr(
        module,
        "multiply_transposed",
        lambda x, y: by_onednn.append(x) or linear.multiply_transposed(x, y),
    )
    monkeypatch.setattr(module, "LARGEST_SUM", largest)
    monkeypatch.setattr(packed, "is_by_mkls_maker", lambda: intel)
    monkeypatch.setattr(linear, "mkl_leaves_avx512", lambda: not intel)
    monkeypatch.setattr(packed, "MOST_ROWS", 6)
    monkeypatch.setattr(module, "CPU_BLOCK_BYTES", 7 * V * 4)  # 7, 7, 7 and 2 rows
    exact = _problem()
    hidden, weight = (x.detach().float().requires_grad_() for x in exact[:2])
    found = linear_cross_entropy(hidden, weight, exact[2], label_smoothing=0.1).loss
    grads = torch.autograd.grad(found, [hidden, weight])
    assert bool(by_onednn) == (torch._C._has_mkldnn and not intel and largest == V * E)
    expected = linear_cross_entropy(*exact, label_smoothing=0.1).loss
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
    for grad, wanted in zip(grads, torch.autograd.grad(expected, exact[:2]), strict=True):
        torch.testing.assert_close(grad.double(), wanted, rtol=1e-5, atol=1e-6)


def _r_drop_by_definition(hidden, weight, target, smoothing, alpha):
    """Liang et al. 2021, equation 4, over all logits, with the two passes' mean for their sum."""
    real = (target != 0).repeat(2)
    logits = hidden @ weight.T
    both = F.cross_entropy(
        logits[real], target.repeat(2)[real], label_smoothing=smoothing, reduction="sum"
    )
    p, q = logits[real].log_softmax(-1).chunk(2)
    divergence = F.kl_div(q, p, reduction="sum", log_target=True)
    divergence += F.kl_div(p, q, reduction="sum", log_target=True)
    return both / 2 + alpha * divergence / 4


@pytest.mark.parametrize("rows", [1, 2, 7, 1000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_r_drop_is_its_definition(monkeypatch, rows, smoothing):
    monkeypatch.setattr(module, "CPU_BLOCK_BYTES", rows * V * 8)
    _, weight, target = _problem()
    target[[0, 5, 22]] = 0
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(2 * N, E, generator=generator, dtype=torch.float64).requires_grad_()
    found = linear_cross_entropy(hidden, weight, target, label_smoothing=smoothing, r_drop=5.0)
    expected = _r_drop_by_definition(hidden, weight, target, smoothing, 5.0)
    torch.testing.assert_close(found.loss, expected, rtol=1e-12, atol=0)
    likelihood = _r_drop_by_definition(hidden, weight, target, 0.0, 0.0)
    torch.testing.assert_close(found.nll, likelihood.detach(), rtol=1e-12, atol=0)
    wanted = torch.autograd.grad(3 * expected, [hidden, weight])
    grads = torch.autograd.grad(3 * found.loss, [hidden, weight])
    for grad, exact in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad, exact, rtol=1e-11, atol=1e-13)
    with torch.no_grad():
        again = linear_cross_entropy(hidden, weight, target, label_smoothing=smoothing, r_drop=5.0)
    torch.testing.assert_close(again.loss, expected.detach(), rtol=1e-12, atol=0)


def test_r_drop_under_autocast():
    _, weight, target = _problem()
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(2 * N, E, generator=generator).requires_grad_()
    weight = weight.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        found = linear_cross_entropy(hidden, weight, target, label_smoothing=0.1, r_drop=5.0).loss
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    expected = _r_drop_by_definition(*exact, target, 0.1, 5.0)
    assert found.item() == pytest.approx(expected.item(), rel=1e-2)
    wanted = torch.autograd.grad(expected, exact)
    for grad, by_definition in zip(
        torch.autograd.grad(found, [hidden, weight]), wanted, strict=True
    ):
        error = (grad.double() - by_definition).norm() / by_definition.norm()
        assert error < 0.02


def test_what_stands_at_padding_does_not_count():
    """Not even NaN, on the path that leaves such rows out; elsewhere it is multiplied by zero."""
    hidden, weight, target = _problem()
    target[[0, 5, 22]] = 0
    poisoned = hidden.detach().clone()
    poisoned[target == 0] = float("nan")
    poisoned.requires_grad_()
    loss = linear_cross_entropy(poisoned, weight, target, label_smoothing=0.1).loss
    found = torch.autograd.grad(loss, [poisoned, weight])
    loss = linear_cross_entropy(hidden, weight, target, label_smoothing=0.1).loss
    for grad, wanted in zip(found, torch.autograd.grad(loss, [hidden, weight]), strict=True):
        torch.testing.assert_close(grad, wanted, rtol=0, atol=0)


def test_of_a_half_precision_model_the_sums_are_not_rounded_to_it():
    """Thousands of terms: in bfloat16 a sum near 15,000 moves in steps of 64."""
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(4001, 13, generator=generator).bfloat16()
    weight = torch.randn(101, 13, generator=generator).bfloat16()
    target = torch.randint(1, 101, (4001,), generator=generator)
    found = linear_cross_entropy(hidden, weight, target, label_smoothing=0.1)
    logits = hidden.double() @ weight.double().T
    for name, smoothing in (("loss", 0.1), ("nll", 0.0)):
        expected = F.cross_entropy(logits, target, label_smoothing=smoothing, reduction="sum")
        assert float(getattr(found, name)) == pytest.approx(float(expected), rel=5e-4)


def test_of_a_half_precision_model_the_gradients_are_summed_in_float32():
    """Half of the targets are one token, whose row of the gradient has thousands of terms."""
    generator = torch.Generator().manual_seed(2)
    hidden = torch.randn(4001, 13, generator=generator).bfloat16().requires_grad_()
    weight = torch.randn(101, 13, generator=generator).bfloat16().requires_grad_()
    target = torch.randint(1, 101, (4001,), generator=generator)
    target[::2] = 7
    loss = linear_cross_entropy(hidden, weight, target, label_smoothing=0.1).loss
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    expected = F.cross_entropy(exact[0] @ exact[1].T, target, label_smoothing=0.1, reduction="sum")
    wanted = torch.autograd.grad(expected, exact)
    for grad, by_torch in zip(torch.autograd.grad(loss, [hidden, weight]), wanted, strict=True):
        assert (grad.double() - by_torch).norm() < 0.006 * by_torch.norm()


def test_under_autocast_a_sure_model_has_no_negative_loss():
    """The likelihood is that of the rounded logits: of two roundings one could exceed the other."""
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(101, 13, generator=generator)
    for token in torch.arange(1, 24):
        with torch.autocast("cpu", torch.bfloat16):
            found = linear_cross_entropy(9 * weight[token], weight, token)
        assert found.nll.item() >= 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_sum_of_all_logits_may_leave_half_precisions_range(smoothing):
    """75,000 here, where float16 ends at 65,504, though no logit is above 15."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(9_973, 127, generator=generator) / 127**0.5 + 0.1
    hidden = torch.randn(53, 127, generator=generator) - 0.6
    target = torch.randint(1, 9_973, (53,), generator=generator)
    expected = F.cross_entropy(
        hidden @ weight.T, target, label_smoothing=smoothing, reduction="sum"
    )
    for dtype, tolerance in ((torch.float16, 1e-3), (torch.bfloat16, 5e-3)):
        with torch.autocast("cpu", dtype):
            found = linear_cross_entropy(hidden, weight, target, label_smoothing=smoothing).loss
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=0)


def test_autocast_leaves_float64_alone():
    hidden, weight, target = _problem()
    expected = linear_cross_entropy(hidden, weight, target).loss
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(linear_cross_entropy(hidden, weight, target).loss, expected)


def test_large_logits_do_not_overflow():
    hidden, weight, target = _problem()
    found = linear_cross_entropy(1e3 * hidden, weight, target).loss
    expected = F.cross_entropy(1e3 * hidden @ weight.T, target, ignore_index=0, reduction="sum")
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)


def test_without_gradients_none_are_computed(monkeypatch):
    hidden, weight, target = _problem()
    wanted = []
    softmax_part = module._softmax_part
    monkeypatch.setattr(
        module, "_softmax_part", lambda *args: wanted.append(args[3]) or softmax_part(*args)
    )
    with torch.no_grad():
        without = linear_cross_entropy(hidden, weight, target, label_smoothing=0.1)
    within = linear_cross_entropy(hidden, weight, target, label_smoothing=0.1)
    assert wanted == [False, True]
    assert torch.equal(without.loss, within.loss.detach())


def test_double_backward_is_refused_not_wrong():
    hidden, weight, target = _problem()
    loss = linear_cross_entropy(hidden, weight, target).loss.square()
    (grad,) = torch.autograd.grad(loss, hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
