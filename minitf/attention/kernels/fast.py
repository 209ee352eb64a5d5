"""`fast`: the quickest order of operations; equal to the others within rounding."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from minitf.attention.kernels.blockwise import BLOCK_SCORES, blockwise_attention
from minitf.attention.kernels.fused import fused_attention
from minitf.attention.kernels.math import math_attention


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
    transposed on the way in or out, where torch's bits would need it sequence-first. With dropout
    on a CPU, torch's fused kernel would keep all scores; so does this one while they are few, and
    beyond that it works in blocks (compiled graphs and masks that want a gradient aside).
    """
    options: dict[str, Any] = {"is_causal": is_causal, "dropout": dropout}
    if need_weights:
        return math_attention(q, k, v, mask, need_weights=True, **options)
    if dropout > 0.0 and q.device.type == "cpu" and not torch.compiler.is_compiling():
        B, H, T, _ = q.shape
        few = B * H * T * k.shape[2] <= BLOCK_SCORES
        if few or (mask is not None and mask.requires_grad):
            return math_attention(q, k, v, mask, need_weights=False, **options)
        return blockwise_attention(q, k, v, mask, **options), None
    return fused_attention(q, k, v, mask, need_weights=False, **options)
