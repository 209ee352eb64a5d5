"""`fast`: the quickest order of operations; equal to the others within rounding."""

from jaxtyping import Float
from torch import Tensor

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
    """Compute softmax(q kᵀ / √D + mask) v."""
    kernel = math_attention if need_weights else fused_attention
    return kernel(q, k, v, mask, is_causal=is_causal, dropout=dropout, need_weights=need_weights)
