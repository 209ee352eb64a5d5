"""Output projection and cross-entropy in one, a few rows of logits at a time.

For a small model the logits are most of the memory traffic: each is written, read for the maximum,
the sum and the gradient, and the (N, V) tensors fit no cache. Here a block of rows is projected,
exponentiated and turned into its share of both gradients while it is still in the cache, in the
forward pass already (as Hsu et al. 2024, "Liger Kernel", do it): the loss is a sum, so the
backward pass has only a factor to multiply with.

What the smoothing contributes is linear in the hidden vectors, and is computed from them, and so is
the target's share of the gradients: Σ_v z_v = h·Σ_v w_v.

R-Drop's two passes over the same tokens stand in neighbouring rows of a block, so that their
distributions meet in the cache too.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from minitf.attention.linear import multiply_transposed, suits_onednn
from minitf.model.packed import PackedWeight

CPU_BLOCK_BYTES = 8 << 20
"""Logits of one block, twice as many in half precision; measured with 32 MB of cache."""
ACCELERATOR_BLOCK_BYTES = 1 << 30
"""There a block only bounds the memory."""
LARGEST_SUM = 1 << 22
"""Elements of a weight's gradient that oneDNN computes anew for each block; of more, MKL, which
adds to what is there, is the quicker."""


class LinearCrossEntropy(torch.autograd.Function):
    """(hidden (P·N, E), weight (V, E), target (N), ε, pad_id, want_gradient, α) -> (loss, nll).

    Sums over the tokens, averaged over P passes: 1, or 2 with R-Drop's α > 0.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: FunctionCtx,
        hidden: Tensor,
        weight: Tensor,
        target: Tensor,
        label_smoothing: float,
        pad_id: int,
        want_gradient: bool,
        r_drop: float,
    ) -> tuple[Tensor, Tensor]:
        """Both sums, and with them the gradients of the first."""
        V, dtype, passes = weight.size(0), weight.dtype, 2 if r_drop else 1
        N, E = target.numel(), hidden.size(-1)
        h = hidden.view(passes, N, E).transpose(0, 1)  # (N, P, E): a token's passes together
        counts = (target != pad_id).to(dtype)
        rows = None
        if hidden.device.type == "cpu":  # elsewhere their number would have to be waited for
            rows = (target != pad_id).nonzero().squeeze(1)
            h, target, counts = h[rows].to(dtype), target[rows], counts[rows]
        else:
            h = h.to(dtype) * counts.view(-1, 1, 1)  # what padding holds, NaN aside, is nothing
        h = h.reshape(-1, E)
        target, counts = target.repeat_interleave(passes), counts.repeat_interleave(passes)
        counts = counts.unsqueeze(1)
        log_sums, nlls, divergence, grad_h, grad_weight = _softmax_part(
            h, weight, target, want_gradient, r_drop
        )

        w_y = weight[target]
        sums = grad_weight.dtype  # of terms in half precision too
        w_sum = weight.sum(0, dtype=sums)
        log_sum = (log_sums * counts).sum(dtype=sums)
        nll = (nlls * counts).sum(dtype=sums)
        # No product of matrices: autocast would compute that in half precision, where it overflows.
        uniform = log_sum - (h * w_sum).sum(dtype=sums) / V
        loss = (1 - label_smoothing) * nll + label_smoothing * uniform
        if r_drop:
            loss += r_drop / 2 * (divergence * counts[::2]).sum(dtype=sums)
        if want_gradient:
            ε = label_smoothing
            grad_h -= (1 - ε) * w_y + (ε / V) * w_sum
            grad_h *= counts
            _subtract_rows(grad_weight, target, h.to(sums), 1 - ε)
            grad_weight -= (ε / V) * h.sum(0, dtype=sums)
            grad_hidden = grad_h.to(hidden.dtype).view(-1, passes, E)
            if rows is not None:
                whole = grad_hidden.new_zeros(N, passes, E)
                grad_hidden = whole.index_copy_(0, rows, grad_hidden)
            grad_hidden = grad_hidden.transpose(0, 1).reshape(passes * N, E)
            ctx.save_for_backward(grad_hidden, grad_weight.to(dtype))
        ctx.passes = passes  # type: ignore[attr-defined]
        loss, nll = loss / passes, nll / passes
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        """The gradients of the forward pass times the loss' own."""
        grad_hidden, grad_weight = ctx.saved_tensors
        grad = grads[0] / ctx.passes
        return grad_hidden * grad, grad_weight * grad, None, None, None, None, None


def _softmax_part(
    h: Tensor, weight: Tensor, target: Tensor, want_gradient: bool, r_drop: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Of Σ log Σ exp(h·Wᵀ) and R-Drop's term: each row's and each pair's share, and the gradients.

    Products are computed in the autocast dtype where there is one, the rest in the weight's.

    Returns:
        log Σ exp and the target's negative log-likelihood, (N, 1) each; the divergences (N/2, 1)
        without their factor; and the sum's gradients, the weight's in float32 at least.
    """
    N, V, dtype = h.size(0), weight.size(0), weight.dtype
    device = h.device.type
    autocast = torch.is_autocast_enabled(device) and dtype != torch.float64  # which it leaves alone
    half = torch.get_autocast_dtype(device) if autocast else dtype
    passes = 2 if r_drop else 1  # whose blocks are halved: there are twice as many tensors
    size = _block_bytes(device, half != dtype) // passes
    rows = max(1, min(N, size // (V * weight.element_size())) // passes) * passes
    w, h_half = weight.to(half), h.to(half)
    logits = h.new_empty(rows, V)
    products = logits if half == dtype else logits.to(half)
    project, project_back = _products(w, products, want_gradient)
    by_onednn = half == dtype and suits_onednn(weight) and weight.numel() <= LARGEST_SUM
    log_sums, nlls, divergence = (h.new_empty(number, 1) for number in (N, N, N // 2))
    grad_h = torch.empty_like(h) if want_gradient else h
    sums = torch.promote_types(dtype, torch.float32)
    grad_weight = torch.zeros_like(weight if want_gradient else weight[:0], dtype=sums)
    if by_onednn:
        grad_weight = grad_weight.t().contiguous().t()  # as its terms lie
    # In place where that has been measured: elsewhere a block is a small part of the memory.
    in_place = device == "cpu" and not r_drop

    for start in range(0, N, rows):
        block = slice(start, min(start + rows, N))
        h_block = h_half[block]
        product = project(h_block)
        z = product if half == dtype else logits[: product.size(0)].copy_(product)
        maximum = z.amax(1, keepdim=True)
        z_y = z.gather(1, target[block].unsqueeze(1))
        softmax = torch.softmax(z, dim=1, out=z if in_place else None)
        # The largest probability is exp(maximum) / Σ exp, and never below 1 / V.
        log_p_max = softmax.amax(1, keepdim=True).log()
        log_sums[block] = maximum - log_p_max
        nlls[block] = (maximum - z_y) - log_p_max
        if r_drop:
            pairs = slice(block.start // 2, block.stop // 2)
            log_prob = z.sub_(log_sums[block])
            divergence[pairs] = _diverge(softmax, log_prob, r_drop / 2)
        if not want_gradient:
            continue
        if by_onednn:
            grad_weight += multiply_transposed(softmax, h_block)
        elif half == sums:
            grad_weight.addmm_(softmax.t(), h_block)
        else:
            softmax = softmax if half == dtype else product.copy_(softmax)
            grad_weight += softmax.t() @ h_block
        grad_h[block] = project_back(softmax)
    return log_sums, nlls, divergence, grad_h, grad_weight.contiguous()


def _subtract_rows(matrix: Tensor, index: Tensor, rows: Tensor, factor: float) -> None:
    """Subtract factor times row n from row index[n] of the matrix, in an order that is fixed."""
    if matrix.device.type == "cpu":
        matrix.index_add_(0, index, rows, alpha=-factor)
        return
    # There index_add_ adds in any order; what an embedding's gradient is summed by does not.
    summed = torch.ops.aten.embedding_dense_backward(rows, index, matrix.size(0), -1, False)
    matrix.sub_(summed, alpha=factor)


def _diverge(prob: Tensor, log_prob: Tensor, factor: float) -> Tensor:
    """KL(p | q) + KL(q | p) of neighbouring rows p and q, (N/2, 1).

    Its gradient by the logits, times the factor, is added to `prob`, the gradient so far.
    """
    p, q = prob.view(-1, 2, prob.size(1)).unbind(1)
    log_p, log_q = log_prob.view(-1, 2, prob.size(1)).unbind(1)
    difference = log_p.sub_(log_q)
    forward = (p * difference).sum(1, keepdim=True)  # KL(p | q)
    backward = -(q * difference).sum(1, keepdim=True)  # KL(q | p)
    difference *= factor
    # By the logits of p: p·(log p - log q - KL(p | q)) from the first, p - q from the second.
    by_p = (difference + (1 + factor - factor * forward)).mul_(p).sub_(q, alpha=factor)
    by_q = (1 + factor - factor * backward - difference).mul_(q).sub_(p, alpha=factor)
    p.copy_(by_p)
    q.copy_(by_q)
    return forward + backward


Product = Callable[[Tensor], Tensor]


def _products(weight: Tensor, buffer: Tensor, want_gradient: bool) -> tuple[Product, Product]:
    """x·Wᵀ, which may be written to the buffer, and y·W."""

    def project(x: Tensor) -> Tensor:
        return torch.mm(x, weight.t(), out=buffer[: x.size(0)])

    def project_back(y: Tensor) -> Tensor:
        return y @ weight

    rows = buffer.size(0)
    if not PackedWeight.suits(weight, rows):
        return project, project_back
    packed = PackedWeight(weight, rows).product
    return packed, PackedWeight(weight.t(), rows).product if want_gradient else project_back


def _block_bytes(device: str, half: bool) -> int:
    if device != "cpu":
        return ACCELERATOR_BLOCK_BYTES
    return 2 * CPU_BLOCK_BYTES if half else CPU_BLOCK_BYTES
