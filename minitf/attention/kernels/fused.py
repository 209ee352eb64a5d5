"""`fused`: torch's scaled_dot_product_attention, which never stores the weights where it can."""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from minitf.attention.errors import AttentionError


def fused_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S D"],
    mask: Float[Tensor, "b h t S"] | None,
    *,
    is_causal: bool,
    dropout: float,
    need_weights: bool,
) -> tuple[Float[Tensor, "B H T D"], None]:
    """Compute softmax(q kᵀ / √D + mask) v in one call.

    Blocks of keys are visited one after another while the softmax's maximum and sum are kept up to
    date (Dao et al. 2022, FlashAttention), so memory grows with T + S. It has no second derivative,
    and with dropout on a CPU torch falls back to keeping all scores.

    Raises:
        AttentionError: weights are wanted.
    """
    if need_weights:
        raise AttentionError(
            "kernel='fused' computes no attention weights: pass need_weights=False, or choose "
            "kernel='auto', 'math' or 'fast'"
        )
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal), None


SHORT = 128
"""FlashAttention works on blocks of 128 × 128 scores, which a sentence of so many tokens fills."""


def suited_to_batches(
    device: torch.device, longest: int | None = None
) -> AbstractContextManager[object]:
    """Let torch choose among its kernels as suits batches of many lengths: training, decoding.

    Without cuDNN's, which torch prefers on an H100 and which is built anew for every shape. While
    all sentences are short the memory-efficient one goes first, for FlashAttention computes mostly
    what is masked then.

    Args:
        device: nothing is changed on others than CUDA's.
        longest: tokens of the longest sentence, where that is known.
    """
    if device.type != "cuda":
        return nullcontext()
    backends = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    if longest is not None and longest <= SHORT:
        backends[:2] = reversed(backends[:2])
    return sdpa_kernel(backends, set_priority=True)
