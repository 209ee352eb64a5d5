"""`fast`: the quickest order of operations; equal to the others within rounding."""

from jaxtyping import Float
from torch import Tensor

from minitf.attention.kernels.blockwise import blockwise_attention
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
    on a CPU, where torch's fused kernel falls back to keeping all scores, it works in blocks.
    """
    if need_weights:
        return math_attention(
            q, k, v, mask, is_causal=is_causal, dropout=dropout, need_weights=True
        )
    if dropout > 0.0 and q.device.type == "cpu":
        return blockwise_attention(q, k, v, mask, is_causal=is_causal, dropout=dropout), None
    return fused_attention(q, k, v, mask, is_causal=is_causal, dropout=dropout, need_weights=False)
