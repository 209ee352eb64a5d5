"""Attention in blocks of queries, with memory linear in the length where torch's is quadratic."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from minitf.attention.kernels.math import math_attention

BLOCK_SCORES = 2**20
"""Scores held at a time: 4 MiB in float32, about a core's share of the cache."""


def blockwise_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S D"],
    mask: Float[Tensor, "b h t S"] | None,
    *,
    is_causal: bool,
    dropout: float,
) -> Float[Tensor, "B H T D"]:
    """Compute softmax(q kᵀ / √D + mask) v, some queries at a time.

    A query's result depends on no other query, so blocks are exact. In training each block's
    scores are computed again in the backward pass instead of being kept (Chen et al. 2016), with
    the same random numbers for dropout; causal blocks leave out the keys that none of them sees.
    """
    B, H, T, _ = q.shape
    S = k.shape[2]
    rows = max(1, BLOCK_SCORES // (B * H * S))
    if rows >= T:
        return _block(q, k, v, _causal_rows(mask, is_causal, 0, T, S, q), dropout)
    blocks = []
    for start in range(0, T, rows):
        stop = min(start + rows, T)
        seen = min(stop, S) if is_causal else S
        part = mask[:, :, start:stop] if mask is not None and mask.shape[2] > 1 else mask
        part = _causal_rows(part, is_causal, start, stop, seen, q)
        inputs = (q[:, :, start:stop], k[:, :, :seen], v[:, :, :seen], part, dropout)
        if torch.is_grad_enabled():
            blocks.append(checkpoint(_block, *inputs, use_reentrant=False))
        else:
            blocks.append(_block(*inputs))
    return torch.cat(blocks, dim=2)


def _block(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float) -> Tensor:
    return math_attention(q, k, v, mask, is_causal=False, dropout=dropout, need_weights=False)[0]


def _causal_rows(
    mask: Tensor | None, is_causal: bool, start: int, stop: int, seen: int, q: Tensor
) -> Tensor | None:
    """Rows `start` to `stop` of the causal mask over the first `seen` keys."""
    if not is_causal:
        return mask
    rows = torch.full((stop - start, seen), float("-inf"), dtype=q.dtype, device=q.device)
    return rows.triu(start + 1)[None, None]
