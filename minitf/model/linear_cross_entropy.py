"""Output projection and cross-entropy in one, a few rows of logits at a time.

For a small model the logits are most of the memory traffic: each is written, read for the maximum,
the sum and the gradient, and the (N, V) tensors fit no cache. Here a block of rows is projected,
exponentiated and turned into its share of both gradients while it is still in the cache, in the
forward pass already (as Hsu et al. 2024, "Liger Kernel", do it): the loss is a sum, so the
backward pass has only a factor to multiply with.

Only the softmax needs the logits. What the target and the smoothing contribute is linear in the
hidden vectors, and is computed from them: z_y = h·w_y and Σ_v z_v = h·Σ_v w_v.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from minitf.model.packed import PackedWeight

CPU_BLOCK_BYTES = 8 << 20
"""Logits of one block, twice as many in half precision; measured with 32 MB of cache."""
ACCELERATOR_BLOCK_BYTES = 1 << 30
"""There a block only bounds the memory."""


class LinearCrossEntropy(torch.autograd.Function):
    """(hidden (N, E), weight (V, E), target (N), ε, pad_id, want_gradient) -> (loss, nll) sums."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: FunctionCtx,
        hidden: Tensor,
        weight: Tensor,
        target: Tensor,
        label_smoothing: float,
        pad_id: int,
        want_gradient: bool,
    ) -> tuple[Tensor, Tensor]:
        """Both sums, and with them the gradients of the first."""
        V, dtype = weight.size(0), weight.dtype
        counts = (target != pad_id).to(dtype).unsqueeze(1)  # (N, 1)
        rows = None
        if hidden.device.type == "cpu":  # elsewhere their number would have to be waited for
            rows = (target != pad_id).nonzero().squeeze(1)
            h, target, counts = hidden[rows].to(dtype), target[rows], counts[rows]
        else:
            h = hidden.to(dtype) * counts  # what padding holds, NaN aside, counts for nothing
        normaliser, grad_h, grad_weight = _softmax_part(h, weight, want_gradient)

        w_y = weight[target]
        w_sum = weight.sum(0)
        sums = torch.promote_types(dtype, torch.float32)  # of terms in half precision
        log_sum = (normaliser * counts).sum(dtype=sums)
        nll = log_sum - (h * w_y).sum(dtype=sums)
        uniform = log_sum - (h @ w_sum).sum(dtype=sums) / V
        if want_gradient:
            ε = label_smoothing
            grad_h -= (1 - ε) * w_y + (ε / V) * w_sum
            grad_h *= counts
            grad_weight.index_add_(0, target, h, alpha=-(1 - ε))
            grad_weight -= (ε / V) * h.sum(0)
            grad_hidden = grad_h.to(hidden.dtype)
            if rows is not None:
                grad_hidden = torch.zeros_like(hidden).index_copy_(0, rows, grad_hidden)
            ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.mark_non_differentiable(nll)
        return (1 - label_smoothing) * nll + label_smoothing * uniform, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """The gradients of the forward pass times the loss' own."""
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grads[0], grad_weight * grads[0], None, None, None, None


def _softmax_part(h: Tensor, weight: Tensor, want_gradient: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Of Σ log Σ exp(h·Wᵀ): each row's term (N, 1), and the gradients of the sum.

    Products are computed in the autocast dtype where there is one, the rest in the weight's.
    """
    N, V, dtype = h.size(0), weight.size(0), weight.dtype
    device = h.device.type
    half = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
    rows = max(1, min(N, _block_bytes(device, half != dtype) // (V * weight.element_size())))
    w, h_half = weight.to(half), h.to(half)
    logits = h.new_empty(rows, V)
    products = logits if half == dtype else logits.to(half)
    project, project_back = _products(w, products, want_gradient)
    normaliser = h.new_empty(N, 1)
    grad_h = torch.empty_like(h) if want_gradient else h
    grad_weight = torch.zeros_like(weight) if want_gradient else weight

    for start in range(0, N, rows):
        block = slice(start, min(start + rows, N))
        h_block = h_half[block]
        product = project(h_block)
        z = product if half == dtype else logits[: product.size(0)].copy_(product)
        maximum = z.amax(1, keepdim=True)
        # In place where that has been measured: elsewhere a block is a small part of the memory.
        softmax = torch.softmax(z, dim=1, out=z if device == "cpu" else None)
        # The largest probability is exp(maximum) / Σ exp, and never below 1 / V.
        normaliser[block] = maximum - softmax.amax(1, keepdim=True).log()
        if not want_gradient:
            continue
        if half == dtype:
            grad_weight.addmm_(softmax.t(), h_block)
        else:
            softmax = product.copy_(softmax)
            grad_weight += softmax.t() @ h_block
        grad_h[block] = project_back(softmax)
    return normaliser, grad_h, grad_weight


Product = Callable[[Tensor], Tensor]


def _products(weight: Tensor, buffer: Tensor, want_gradient: bool) -> tuple[Product, Product]:
    """x·Wᵀ, which may be written to the buffer, and y·W."""

    def project(x: Tensor) -> Tensor:
        return torch.mm(x, weight.t(), out=buffer[: x.size(0)])

    def project_back(y: Tensor) -> Tensor:
        return y @ weight

    if not PackedWeight.suits(weight):
        return project, project_back
    rows = buffer.size(0)
    packed = PackedWeight(weight, rows).product
    return packed, PackedWeight(weight.t(), rows).product if want_gradient else project_back


def _block_bytes(device: str, half: bool) -> int:
    if device != "cpu":
        return ACCELERATOR_BLOCK_BYTES
    return 2 * CPU_BLOCK_BYTES if half else CPU_BLOCK_BYTES
