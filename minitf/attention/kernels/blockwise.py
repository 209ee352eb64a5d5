"""Attention in blocks of queries: memory grows with the length where torch's grows with its square.

With dropout on a CPU, torch's fused kernel falls back to keeping all B·H·T·S scores. Here only one
block of them exists at a time, forward and backward (after Dao et al. 2022, FlashAttention,
appendix B.4, with blocks over queries alone).
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from minitf.attention.dropout import dropout

BLOCK_SCORES = 2**20
"""Scores in a block: 4 MiB in float32, about a core's share of the cache."""


def blockwise_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S D"],
    mask: Float[Tensor, "b h t S"] | None,
    *,
    is_causal: bool,
    dropout: float,
) -> Float[Tensor, "B H T D"]:
    """Compute dropout(softmax(q kᵀ / √D + mask)) v, some queries at a time.

    A query's result depends on no other query, so blocks are exact. The backward pass computes each
    block's weights again, with the same random numbers. A mask gets no gradient.
    """
    with torch.autocast(q.device.type, enabled=False):
        mask = None if mask is None else mask.to(q.dtype)
        inputs = (q, k.to(q.dtype), v.to(q.dtype), mask, is_causal, dropout)
        context: Tensor = _Blockwise.apply(*inputs)  # type: ignore[no-untyped-call]
    return context


class _Blockwise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        is_causal: bool,
        dropout: float,
    ) -> Tensor:
        ctx.save_for_backward(q, k, v, mask)
        ctx.is_causal, ctx.dropout, ctx.random_state = is_causal, dropout, torch.get_rng_state()
        B, H, T, _ = q.shape
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))  # (B, H, L, D) -> (B·H, L, D)
        context = v.new_empty(B * H, T, v.shape[-1])
        for rows, seen in _blocks(q, k, is_causal):
            weights = _weights(q[:, rows], k[:, :seen], _part(mask, B, H, rows), is_causal, rows)
            if dropout > 0.0:
                weights *= _keep(weights, dropout)
            context[:, rows] = weights @ v[:, :seen]
        return context.view(B, H, T, -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Write P for the weights, Z for dropout's factors, S for the scores, O = (P ∘ Z) v."""
        q, k, v, mask = ctx.saved_tensors
        B, H = q.shape[:2]
        q, k, v, grad = (x.flatten(0, 1) for x in (q, k, v, grad))
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        scale = math.sqrt(1.0 / q.shape[-1])
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(ctx.random_state)
            for rows, seen in _blocks(q, k, ctx.is_causal):
                part = _part(mask, B, H, rows)
                P = _weights(q[:, rows], k[:, :seen], part, ctx.is_causal, rows)
                dP = grad[:, rows] @ v[:, :seen].mT  # so far d(P ∘ Z)
                if ctx.dropout > 0.0:
                    Z = _keep(P, ctx.dropout)
                    dv[:, :seen].baddbmm_((P * Z).mT, grad[:, rows])
                    dP *= Z
                else:
                    dv[:, :seen].baddbmm_(P.mT, grad[:, rows])
                dS = P * (dP - (dP * P).sum(-1, keepdim=True))
                dq[:, rows] = dS @ k[:, :seen] * scale
                dk[:, :seen].baddbmm_(dS.mT, q[:, rows], alpha=scale)
        gradients = (x.view(B, H, *x.shape[1:]) for x in (dq, dk, dv))
        return *gradients, None, None, None


def _blocks(q: Tensor, k: Tensor, is_causal: bool) -> list[tuple[slice, int]]:
    """Which queries make a block, and how many keys they may see."""
    T, S = q.shape[1], k.shape[1]
    size = max(1, BLOCK_SCORES // (q.shape[0] * S))
    stops = [min(start + size, T) for start in range(0, T, size)]
    return [
        (slice(start, stop), min(stop, S) if is_causal else S)
        for start, stop in zip(range(0, T, size), stops, strict=True)
    ]


def _weights(q: Tensor, k: Tensor, mask: Tensor | None, is_causal: bool, rows: slice) -> Tensor:
    q = q * math.sqrt(1.0 / q.shape[-1])
    if is_causal:
        future = q.new_full((q.shape[1], k.shape[1]), float("-inf"))
        mask = future.triu(rows.start + 1)
    scores = q @ k.mT if mask is None else torch.baddbmm(mask, q, k.mT)
    return F.softmax(scores, dim=-1)


def _part(mask: Tensor | None, B: int, H: int, rows: slice) -> Tensor | None:
    """Rows of a mask, for every head if heads differ: (b, h, t, S) -> (B·H or 1, t, S)."""
    if mask is None:
        return None
    mask = mask[:, :, rows] if mask.shape[2] > 1 else mask
    return mask[0] if mask.shape[:2] == (1, 1) else mask.expand(B, H, -1, -1).flatten(0, 1)


def _keep(weights: Tensor, p: float) -> Tensor:
    """Dropout's factors: 0 with probability p, else 1 / (1 - p)."""
    return dropout(torch.ones_like(weights), p)
