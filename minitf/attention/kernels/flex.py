"""`flex`: torch's FlexAttention, a kernel that torch.compile writes for the mask at hand."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import flex_attention as torch_flex

from minitf.attention.errors import AttentionError

DTYPES = (torch.float32, torch.bfloat16, torch.float16)

MOST_VARIANTS = 256
"""Kinds of mask, times data types, times with and without gradients, times strides; beyond torch's
own limit of eight it would fall back to all scores in memory."""


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

    Causal attention skips the blocks that lie wholly above the diagonal. The first call of a kind
    compiles, which takes seconds.

    Raises:
        AttentionError: weights or dropout are wanted, or what the device cannot do: gradients
            elsewhere than on CUDA, float64, heads narrower than 16 on CUDA, or gradients of a mask.
    """
    _refuse(q, k, v, mask, dropout, need_weights)
    if 0 in (*q.shape, k.shape[2]):  # no query, or none that sees a key
        return q * 0.0, None
    score_mod = block_mask = None
    if is_causal:
        block_mask = _causal_blocks(q.shape[2], k.shape[2], q.device)
    elif mask is not None:
        score_mod = _add(mask.expand(q.shape[0], q.shape[1], q.shape[2], -1))
    if torch.compiler.is_compiling():  # the caller as a whole
        return torch_flex.flex_attention(q, k, v, score_mod=score_mod, block_mask=block_mask), None
    with torch._dynamo.config.patch(recompile_limit=MOST_VARIANTS):
        context = _compiled()(q, k, v, score_mod=score_mod, block_mask=block_mask)
    return context, None


def _refuse(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, need_weights: bool
) -> None:
    device = q.device.type
    needs_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    if need_weights:
        raise AttentionError("kernel='flex' computes no attention weights: pass need_weights=False")
    if dropout > 0.0:
        raise AttentionError(f"kernel='flex' has no attention dropout, got dropout={dropout}")
    if needs_grad and device != "cuda":
        raise AttentionError(
            f"kernel='flex' has gradients on cuda alone, got {device}: use 'fused' or 'fast'"
        )
    if q.dtype not in DTYPES:
        raise AttentionError(f"kernel='flex' takes float32, bfloat16 and float16, got {q.dtype}")
    if device == "cuda" and q.shape[-1] < 16:
        raise AttentionError(f"kernel='flex' needs a head_dim of at least 16, got {q.shape[-1]}")
    if mask is not None and mask.requires_grad:
        raise AttentionError("kernel='flex' gives a mask no gradient: use 'math' or 'fused'")


@functools.cache
def _compiled() -> Any:
    return torch.compile(torch_flex.flex_attention)


def _causal_blocks(T: int, S: int, device: torch.device) -> Any:
    if torch.compiler.is_compiling():
        return torch_flex.create_block_mask(_sees, None, None, T, S, device=device)
    return _cached_causal_blocks(T, S, device)


@functools.lru_cache(maxsize=1024)
def _cached_causal_blocks(T: int, S: int, device: torch.device) -> Any:
    with torch.inference_mode(False):
        return torch_flex.create_block_mask(_sees, None, None, T, S, device=device)


def _sees(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
    return j <= i


def _add(mask: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]:
    def score_mod(score: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return score + mask[b, h, i, j]

    return score_mod
