"""`math`: the formula itself, from matrix products and a softmax."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from minitf.attention.masks import additive, causal_mask

FEW_QUERIES = 16
"""On a CPU the fused kernel's start costs more than a few queries' scores take to store."""


def is_for_products(query: Tensor, length: int) -> bool:
    """Whether this is the quickest kernel: one new token, or a beam's, over cached keys on a CPU.

    Args:
        query: gives device and dtype.
        length: T.
    """
    return (
        not torch.compiler.is_compiling()  # first: a graph is for any length
        and query.device.type == "cpu"
        and query.dtype in (torch.float32, torch.float64)
        and length <= FEW_QUERIES
        and not torch.is_grad_enabled()
    )


def math_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S D"],
    mask: Float[Tensor, "b h t S"] | None,
    *,
    is_causal: bool,
    dropout: float,
    need_weights: bool,
) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H T S"] | None]:
    """Compute softmax(q kᵀ / √D + mask) v (Vaswani et al. 2017, equation 1).

    It gives the weights, has second derivatives, and keeps all B·H·T·S scores in memory. The order
    of operations is torch.nn.MultiheadAttention's with weights wanted, to the last bit: the queries
    are scaled before the product, and the mask is added inside it.
    """
    B, H, T, D = q.shape
    S = k.shape[2]
    if is_causal:
        mask = additive(causal_mask(T, S, q.device), q.dtype)[None, None]
    # (B, H, L, D) -> (B·H, L, D)
    q, k, v = q.reshape(B * H, T, D), k.reshape(B * H, S, D), v.reshape(B * H, S, D)

    q = q * math.sqrt(1.0 / D)
    if mask is None:
        scores = torch.bmm(q, k.transpose(1, 2))  # q kᵀ / √D
    else:
        scores = torch.baddbmm(_per_head(mask, B, H), q, k.transpose(1, 2))  # mask + q kᵀ / √D
    weights = F.softmax(scores, dim=-1)  # each row sums to 1
    if dropout > 0.0:
        weights = F.dropout(weights, dropout)
    context = torch.bmm(weights, v)

    return context.view(B, H, T, D), weights.view(B, H, T, S) if need_weights else None


def _per_head(mask: Float[Tensor, "b h t S"], B: int, H: int) -> Float[Tensor, "BH t S"]:
    """Give every head its own mask where masks differ, (b, h, t, S) -> (B·H or 1, t, S)."""
    if mask.shape[:2] == (1, 1):
        return mask[0]
    return mask.expand(B, H, -1, -1).flatten(0, 1)
