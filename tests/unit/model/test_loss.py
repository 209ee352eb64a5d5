"""Label-smoothed cross-entropy, plain and fused with the output projection."""

import math

import pytest
import torch
import torch.nn.functional as F

from minitf.model import label_smoothed_cross_entropy, linear_cross_entropy
from minitf.model.loss import LossSums

PAD = 0
N, E, V = 17, 5, 13


def _problem(dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(N, E, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(V, E, generator=generator, dtype=dtype).requires_grad_()
    target = torch.randint(1, V, (N,), generator=generator)
    target[::5] = PAD
    return hidden, weight, target


def _by_hand(logits, target, smoothing) -> LossSums:
    """The definition, token by token, in Python's own floats."""
    loss = nll = 0.0
    for z, y in zip(logits.tolist(), target.tolist(), strict=True):
        if y == PAD:
            continue
        log_total = math.log(sum(math.exp(v) for v in z))
        log_prob = [v - log_total for v in z]
        nll -= log_prob[y]
        loss -= sum(
            ((1 - smoothing) * (v == y) + smoothing / V) * p for v, p in enumerate(log_prob)
        )
    return LossSums(loss, nll)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("fused", [False, True])
def test_loss_is_the_definition(smoothing, fused):
    hidden, weight, target = _problem()
    logits = hidden @ weight.T
    if fused:
        found = linear_cross_entropy(hidden, weight, target, label_smoothing=smoothing)
    else:
        found = label_smoothed_cross_entropy(logits, target, label_smoothing=smoothing)
    expected = _by_hand(logits, target, smoothing)
    assert found.loss.item() == pytest.approx(expected.loss, rel=1e-13)
    assert found.nll.item() == pytest.approx(expected.nll, rel=1e-13)
    assert not found.nll.requires_grad


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_loss_and_gradients_are_those_of_torch(smoothing, fused, dtype):
    hidden, weight, target = _problem(dtype)
    if fused:
        found = linear_cross_entropy(hidden, weight, target, label_smoothing=smoothing).loss
    else:
        found = label_smoothed_cross_entropy(
            hidden @ weight.T, target, label_smoothing=smoothing
        ).loss
    grads = torch.autograd.grad(3.0 * found, [hidden, weight])
    exact = [x.detach().double().requires_grad_() for x in (hidden, weight)]
    expected = F.cross_entropy(
        exact[0] @ exact[1].T,
        target,
        label_smoothing=smoothing,
        ignore_index=PAD,
        reduction="sum",
    )
    expected_grads = torch.autograd.grad(3.0 * expected, exact)
    tolerance = (
        {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-5}
    )
    torch.testing.assert_close(found.double(), expected, **tolerance)
    for grad, wanted in zip(grads, expected_grads, strict=True):
        assert grad.dtype == dtype
        torch.testing.assert_close(grad.double(), wanted, **tolerance)


@pytest.mark.parametrize("fused", [False, True])
def test_leading_dimensions_do_not_matter(fused):
    hidden, weight, target = _problem()
    for shape in ((1, N), (N, 1)):
        shaped = hidden.view(*shape, E)
        if fused:
            found = linear_cross_entropy(shaped, weight, target.view(shape), label_smoothing=0.1)
        else:
            found = label_smoothed_cross_entropy(
                shaped @ weight.T, target.view(shape), label_smoothing=0.1
            )
        assert found.loss.item() == pytest.approx(
            _by_hand(hidden @ weight.T, target, 0.1).loss, rel=1e-13
        )


@pytest.mark.parametrize("fused", [False, True])
def test_padding_has_no_gradient_and_no_loss(fused):
    hidden, weight, target = _problem()
    target[:] = PAD
    found = (
        linear_cross_entropy(hidden, weight, target, label_smoothing=0.1)
        if fused
        else label_smoothed_cross_entropy(hidden @ weight.T, target, label_smoothing=0.1)
    )
    assert found.loss.item() == 0.0
    found.loss.backward()
    assert hidden.grad.abs().max() == 0.0
    assert weight.grad.abs().max() == 0.0


@pytest.mark.parametrize("fused", [False, True])
def test_half_precision_logits_are_summed_in_float32(fused):
    hidden, weight, target = _problem(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = (
            linear_cross_entropy(hidden, weight, target, label_smoothing=0.1)
            if fused
            else label_smoothed_cross_entropy(F.linear(hidden, weight), target, label_smoothing=0.1)
        )
    found.loss.backward()
    assert found.loss.dtype == torch.float32
    assert weight.grad.dtype == torch.float32
    exact = _by_hand(hidden.double() @ weight.double().T, target, 0.1).loss
    assert found.loss.item() == pytest.approx(exact, rel=1e-2)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_smoothing_out_of_range_is_refused(smoothing):
    hidden, weight, target = _problem()
    with pytest.raises(ValueError, match="label_smoothing must be at least 0 and below 1"):
        label_smoothed_cross_entropy(hidden @ weight.T, target, label_smoothing=smoothing)
    with pytest.raises(ValueError, match="label_smoothing must be at least 0 and below 1"):
        linear_cross_entropy(hidden, weight, target, label_smoothing=smoothing)
