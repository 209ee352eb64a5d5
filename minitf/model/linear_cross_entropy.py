"""Output projection and cross-entropy in one, a few rows of logits at a time.

For a small model the logits are most of the memory traffic: each is written, read for the maximum,
the sum and the gradient, and the (N, V) tensors fit no cache. Here a block of rows is projected,
exponentiated and turned into its share of both gradients while it is still in the cache, in the
forward pass already (as Hsu et al. 2024, "Liger Kernel", do it): the loss is a sum, so the
backward pass has only a factor to multiply with.

Only the softmax needs the logits. What the target and the smoothing contribute is linear in the
hidden vectors, and is computed from them: z_y = h·w_y and Σ_v z_v = h·Σ_v w_v.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

CPU_BLOCK_BYTES = 4 << 20
"""Logits of one block; from 2 to 10 MB made no difference on a CPU with 32 MB of cache."""
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
        V = weight.size(0)
        counts = (target != pad_id).to(weight.dtype).unsqueeze(1)  # (N, 1)
        h = hidden.to(weight.dtype) * counts  # what padding holds, NaN aside, counts for nothing
        normaliser, grad_hidden, grad_weight = _softmax_part(h, weight, counts, want_gradient)

        w_y = weight[target]
        w_sum = weight.sum(0)
        nll = (normaliser * counts).sum() - (h * w_y).sum()
        uniform = (normaliser * counts).sum() - (h @ w_sum).sum() / V
        if want_gradient:
            ε = label_smoothing
            grad_hidden -= ((1 - ε) * w_y + (ε / V) * w_sum) * counts
            grad_weight.index_add_(0, target, h, alpha=-(1 - ε))
            grad_weight -= (ε / V) * h.sum(0)
            ctx.save_for_backward(grad_hidden.to(hidden.dtype), grad_weight)
        ctx.mark_non_differentiable(nll)
        return (1 - label_smoothing) * nll + label_smoothing * uniform, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """The gradients of the forward pass times the loss' own."""
        grad_hidden, grad_weight = ctx.saved_tensors
        return grad_hidden * grads[0], grad_weight * grads[0], None, None, None, None


def _softmax_part(
    h: Tensor, weight: Tensor, counts: Tensor, want_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Of Σ log Σ exp(h·Wᵀ): each row's term (N, 1), and the gradients of the sum.

    Products are computed in the autocast dtype where there is one, the rest in the weight's.
    """
    N, V, dtype = h.size(0), weight.size(0), weight.dtype
    device = h.device.type
    half = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
    block_bytes = CPU_BLOCK_BYTES if device == "cpu" else ACCELERATOR_BLOCK_BYTES
    rows = max(1, min(N, block_bytes // (V * weight.element_size())))
    w = weight.to(half)
    buffer = h.new_empty(rows, V)
    normaliser = h.new_empty(N, 1)
    grad_hidden = torch.empty_like(h) if want_gradient else h
    grad_weight = torch.zeros_like(weight) if want_gradient else weight

    for start in range(0, N, rows):
        block = slice(start, min(start + rows, N))
        h_block = h[block]
        z = buffer[: h_block.size(0)]
        if half == dtype:
            torch.mm(h_block, w.t(), out=z)
        else:
            z.copy_(h_block.to(half) @ w.t())
        maximum = z.amax(1, keepdim=True)
        exp = z.sub_(maximum).exp_()
        total = exp.sum(1, keepdim=True)
        normaliser[block] = maximum + total.log()
        if want_gradient:
            share = counts[block] / total  # softmax = exp / total, multiplied in where it is small
            exp = exp.to(half)
            grad_hidden[block] = (exp @ w) * share
            if half == dtype:
                grad_weight.addmm_(exp.t(), h_block * share)
            else:
                grad_weight += exp.t() @ (h_block * share).to(half)
    return normaliser, grad_hidden, grad_weight
