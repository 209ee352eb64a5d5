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


def without_cudnn(device: torch.device) -> AbstractContextManager[object]:
    """Leave out cuDNN's kernel, which torch prefers on an H100 and builds anew for every shape.

    For loops whose shapes change from step to step: training in batches of like lengths, decoding.
    """
    if device.type != "cuda":
        return nullcontext()
    backends = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
    return sdpa_kernel(backends)
