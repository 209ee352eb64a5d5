"""`flex`: torch's FlexAttention, a kernel compiled for the mask at hand."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention as torch_flex_attention

from minitf.attention.errors import AttentionError


def flex_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S D"],
    mask: Float[Tensor, "b h t S"] | None,
    *,
    is_causal: bool,
    dropout: float,
    need_weights: bool,
) -> tuple[Float[Tensor, "B H T D"], None]:
    """Compute softmax(q kᵀ / √D + mask) v with FlexAttention (Dong et al. 2024).

    Raises:
        AttentionError: weights or dropout are wanted, or gradients on a device without them.
    """
    needs_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    if need_weights:
        raise AttentionError("kernel='flex' computes no attention weights: pass need_weights=False")
    if dropout > 0.0:
        raise AttentionError(f"kernel='flex' has no attention dropout, got dropout={dropout}")
    if needs_grad and q.device.type != "cuda":
        raise AttentionError(
            f"kernel='flex' has gradients on cuda alone, got {q.device.type}: "
            "use kernel='fused' or 'fast'"
        )
    T, S = q.shape[2], k.shape[2]
    score_mod: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor] | None = None
    if is_causal:

        def score_mod(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return torch.where(j <= i, score, -float("inf"))

    elif mask is not None:
        full = mask.expand(q.shape[0], q.shape[1], T, S)

        def score_mod(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
            return score + full[b, h, i, j]

    return torch_flex_attention(q, k, v, score_mod=score_mod), None
