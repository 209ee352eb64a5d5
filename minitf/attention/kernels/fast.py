"""`fast`: the quickest order of operations; equal to the others within rounding."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from minitf.attention.kernels.blockwise import BLOCK_SCORES, blockwise_attention
from minitf.attention.kernels.fused import fused_attention
from minitf.attention.kernels.math import is_for_products, math_attention
from minitf.attention.masks import is_transformed

FEW_KEYS = 256
"""Up to so many keys torch's CPU kernel has a slower backward in half precision than in float32."""


def fast_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S D"],
    mask: Float[Tensor, "b h t S"] | None,
    *,
    is_causal: bool,
    dropout: float,
    need_weights: bool,
) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H T S"] | None]:
    """Compute softmax(q kᵀ / √D + mask) v.

    Its gain is in the layout: the module hands it the inputs as they lie, so that nothing is
    transposed on the way in or out, where torch's bits would need it sequence-first. On a CPU it
    also avoids four ways in which torch's fused kernel is slow or wasteful there: few queries
    without gradients, as in decoding; half precision in training on short sentences, which it
    computes in float32 instead; dropout, where torch keeps all scores and this one keeps them while
    they are few and else works in blocks (compiled and transformed graphs and masks that want a
    gradient aside); and dropout in half precision, in float32 again.
    """
    options: dict[str, Any] = {"is_causal": is_causal, "dropout": dropout}
    if need_weights or is_for_products(q, q.shape[2]):
        context, weights = math_attention(q, k, v, mask, need_weights=need_weights, **options)
        return context, weights
    if not _rises(q, k, v, dropout):
        return _attend(q, k, v, mask, **options), None
    with torch.autocast(q.device.type, enabled=False):  # it would lower what is raised here
        mask = None if mask is None else mask.float()
        context = _attend(q.float(), k.float(), v.float(), mask, **options)
    return context.to(q.dtype), None


def _rises(q: Tensor, k: Tensor, v: Tensor, dropout: float) -> bool:
    """Whether to compute half precision in float32: quicker, and more exact besides."""
    if q.device.type != "cpu" or q.dtype not in (torch.bfloat16, torch.float16):
        return False
    training = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    return dropout > 0.0 or (training and k.shape[2] <= FEW_KEYS)


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, *, is_causal: bool, dropout: float
) -> Tensor:
    options: dict[str, Any] = {"is_causal": is_causal, "dropout": dropout}
    if dropout > 0.0 and q.device.type == "cpu" and not torch.compiler.is_compiling():
        B, H, T, _ = q.shape
        few = B * H * T * k.shape[2] <= BLOCK_SCORES
        if few or (mask is not None and mask.requires_grad) or is_transformed(q):
            return math_attention(q, k, v, mask, need_weights=False, **options)[0]
        return blockwise_attention(q, k, v, mask, **options)
    return fused_attention(q, k, v, mask, need_weights=False, **options)[0]
