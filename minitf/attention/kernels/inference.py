"""torch's inference kernel in its parts, for equality to the last bit in evaluation too.

In evaluation mode, without gradients, torch.nn.MultiheadAttention leaves its usual path for a
kernel of its own, which computes batch-first, adds the bias after the product and scales the query
in the same step. Its bits are other ones. `kernel="auto"` follows it on CPUs; every other kernel
stays what it is. It keeps all scores, as torch's does: where no weights are wanted, `auto` leaves
it for `fused` beyond LONGEST tokens, which needs less memory and less time.
"""

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from minitf.attention.masks import AttentionMask, build_mask, causal_mask

if TYPE_CHECKING:
    from minitf.attention.module import MultiHeadAttention

LONGEST = 1024
"""Beyond so many tokens the scores, which nobody wants, are not kept for the sake of equal bits."""

PADDING, PER_HEAD = 1, 2  # the kinds of mask, (B, T) and (B, H, T, T), by torch's numbers


def follows_torch(
    attention: "MultiHeadAttention",
    query: Tensor,
    key: Tensor,
    value: Tensor,
    masks: tuple[Tensor | None, Tensor | None],
    need_weights: bool,
) -> bool:
    """Whether torch's module takes its inference kernel for this call, and memory allows it.

    A call of a small module takes some 35 µs, so each question is asked in the cheapest way.
    is_causal has no say. torch must be given a mask beside it, for its kernel knows no causality of
    its own; what is causal here without a mask equals what is causal there with one.
    """
    if attention.training or query is not key or key is not value or query.dim() != 3:
        return False
    if not attention.batch_first or attention.num_heads % 2 or attention.rotary_base is not None:
        return False
    if attention.add_zero_attn or not query.is_cpu or query.shape[2] != attention.embed_dim:
        return False
    if not query.numel() or (query.shape[1] > LONGEST and not need_weights):
        return False
    for mask in masks:
        if mask is not None and (mask.dtype != torch.bool or mask.dim() > 3):
            return False
    out = attention.out_proj
    if not isinstance(out, nn.Linear) or attention.bias_k is not None:  # an adapter; a learned key
        return False
    parameters = (attention.in_proj_weight, attention.in_proj_bias, out.weight, out.bias)
    if torch.is_autocast_enabled() or torch.overrides.has_torch_function((query, *parameters)):
        return False
    grad, dtype = torch.is_grad_enabled(), query.dtype
    if grad and query.requires_grad:
        return False
    for p in parameters:
        if p is None or p.dtype != dtype or (grad and p.requires_grad):
            return False
    return torch.backends.mha.get_fastpath_enabled()


def attend_as_torch(
    attention: "MultiHeadAttention",
    x: Float[Tensor, "B T E"],
    attn_mask: Bool[Tensor, "..."] | None,
    key_padding_mask: Bool[Tensor, "B T"] | None,
    *,
    is_causal: bool,
) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H T T"], AttentionMask]:
    """Self-attention up to the heads' results: these, the weights, and the mask that was applied.

    Raises:
        AttentionError: a mask's shape does not fit.
    """
    B, T, _ = x.shape
    mask = build_mask(
        attn_mask,
        key_padding_mask,
        shape=(B, attention.num_heads, T, T),
        query=x,
        is_causal=is_causal,
        keep_bool=True,
    )
    merged = causal_mask(T, T, x.device)[None, None] if mask.is_causal else mask.merged
    context, weights = _attend(*_project_and_scale(attention, x), merged)
    return context, weights, mask


def _project_and_scale(
    attention: "MultiHeadAttention", x: Float[Tensor, "B T E"]
) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H T D"], Float[Tensor, "B H T D"]]:
    """Compute q / √D, k and v of self-attention, split into heads."""
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    assert weight is not None
    assert bias is not None
    # F.linear multiplies what is not contiguous in another order for weights that want gradients.
    packed = F.linear(x, weight if x.is_contiguous() else weight.detach())
    bias = bias.to(packed.dtype)  # autocast rounds the product, torch's kernel both
    q, k, v = torch._transform_bias_rescale_qkv(packed, bias, attention.num_heads)
    return q, k, v


def _attend(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H T D"],
    v: Float[Tensor, "B H T D"],
    mask: Bool[Tensor, "b h t T"] | None,
) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H T T"]]:
    """Compute softmax(q kᵀ / √D) v where not masked, and the weights; q is scaled already."""
    B, H, T, D = q.shape
    q, k, v = q.view(B * H, T, D), k.view(B * H, T, D), v.view(B * H, T, D)
    scores = torch.bmm(q, k.transpose(1, 2)).view(B, H, T, T)
    if mask is None:
        # In place, as torch does; F.softmax would rise to float32 under autocast.
        weights = torch._softmax(scores, -1, False, out=scores)
    elif mask.shape == (B, 1, 1, T):
        weights = torch._masked_softmax(scores, mask.view(B, T), 3, PADDING)
    else:
        weights = torch._masked_softmax(scores, mask.expand(B, H, T, T), 3, PER_HEAD)
    context = torch.bmm(weights.view(B * H, T, T), v, out=q)  # the queries have been used
    return context.view(B, H, T, D), weights
