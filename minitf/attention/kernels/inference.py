"""torch's inference kernel in its parts, for equality to the last bit in evaluation too.

In evaluation mode, without gradients, torch.nn.MultiheadAttention leaves its usual path for a
kernel of its own, which computes batch-first, adds the bias after the product and scales the query
in the same step. Its bits are other ones. `kernel="auto"` follows it on CPUs; every other kernel
stays what it is. It keeps all scores, as torch's does: where no weights are wanted, `auto` leaves
it for `fused` beyond LONGEST tokens, which needs less memory and less time.
"""

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.overrides import has_torch_function

from minitf.attention.linear import is_plain
from minitf.attention.masks import attn_mask_4d, causal_mask, dead_queries, padding_mask_4d

if TYPE_CHECKING:
    from minitf.attention.module import MultiHeadAttention

LONGEST = 1024
"""Beyond so many tokens the scores, which nobody wants, are not kept for the sake of equal bits."""

PADDING, PER_HEAD = 1, 2  # the kinds of mask, (B, T) and (B, H, T, T), by torch's numbers

Parameters = tuple[Tensor, Tensor, Tensor, Tensor]
"""in_proj_weight, in_proj_bias, out_proj.weight and out_proj.bias, each read once: it takes half
a microsecond, and more where one is computed."""

_AS_IT_IS = nullcontext()


def follows_torch(
    attention: "MultiHeadAttention",
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    need_weights: bool,
) -> tuple[nn.Linear, Parameters] | None:
    """Return out_proj and the parameters, if torch's module takes its inference kernel; else None.

    None too where that would take too much memory. A call of a small module takes some 35 µs, so
    each question is asked in the cheapest way. is_causal has no say. torch must be given a mask
    beside it, for its kernel knows no causality of its own; what is causal here without a mask
    equals what is causal there with one.
    """
    if attention.training or query is not key or key is not value:
        return None
    if query.is_nested or query.dim() != 3:
        return None
    if not attention.batch_first or attention.num_heads % 2 or attention.rotary_base is not None:
        return None
    if attention.add_zero_attn or not query.is_cpu or query.shape[2] != attention.embed_dim:
        return None
    if not query.numel():
        return None
    if not (need_weights or torch.compiler.is_compiling()) and query.shape[1] > LONGEST:
        return None  # a graph, which takes no inference kernel, is for any length
    if attn_mask is not None and (attn_mask.dtype != torch.bool or attn_mask.dim() not in (2, 3)):
        return None
    if key_padding_mask is not None and (
        key_padding_mask.dtype != torch.bool or key_padding_mask.dim() != 2
    ):
        return None
    out = attention.out_proj
    if not isinstance(out, nn.Linear):  # an adapter
        return None
    if attention._parameters.get("bias_k", out) is not None:  # a learned key, or a computed one
        return None
    parameters = (attention.in_proj_weight, attention.in_proj_bias, out.weight, out.bias)
    if torch.is_autocast_enabled() or has_torch_function((query, *parameters)):
        return None
    grad, dtype = torch.is_grad_enabled(), query.dtype
    if grad and query.requires_grad:
        return None
    for p in parameters:
        if p is None or p.dtype != dtype or (grad and p.requires_grad):
            return None
    return (out, parameters) if torch.backends.mha.get_fastpath_enabled() else None  # type: ignore[return-value]


def attend_as_torch(
    attention: "MultiHeadAttention",
    x: Float[Tensor, "B T E"],
    projection: nn.Linear,
    parameters: Parameters,
    attn_mask: Bool[Tensor, "..."] | None,
    key_padding_mask: Bool[Tensor, "B T"] | None,
    is_causal: bool,
    need_weights: bool,
    average_attn_weights: bool,
) -> tuple[Float[Tensor, "B T E"], Float[Tensor, "B ..."] | None]:
    """Self-attention from the inputs to the output and, where wanted, the weights.

    Raises:
        AttentionError: a mask's shape does not fit.
    """
    B, T, _ = x.shape
    H, D = attention.num_heads, attention.head_dim
    in_weight, in_bias, out_weight, out_bias = parameters
    plain = is_plain(projection)
    # Operations start quicker where none can be recorded, but nothing made there may get out.
    hidden = plain and (average_attn_weights or not need_weights)
    quick = hidden and not torch.is_inference_mode_enabled()
    with torch._C._InferenceMode(True) if quick else _AS_IT_IS:  # inference_mode() takes longer
        mask, kind, dead = None, None, None
        if attn_mask is not None or key_padding_mask is not None or is_causal:
            mask, kind, dead = _merge(attn_mask, key_padding_mask, (B, H, T, T), x, is_causal)
        # What is not contiguous is multiplied in another order for weights that want gradients.
        packed = F.linear(x, in_weight if x.is_contiguous() else in_weight.detach())
        if packed.dtype != in_bias.dtype:  # by autocast; torch's kernel rounds the bias too
            in_bias = in_bias.to(packed.dtype)
        q, k, v = torch._transform_bias_rescale_qkv(packed, in_bias, H)
        del packed
        q, k, v = q.view(B * H, T, D), k.view(B * H, T, D), v.view(B * H, T, D)
        scores = torch.bmm(q, k.transpose(1, 2))  # of queries over √D already
        if mask is None:
            weights = torch._softmax(scores, -1, False, out=scores)  # in place, as torch does
        else:
            weights = torch._masked_softmax(scores.view(B, H, T, T), mask, 3, kind)
            weights = weights.view(B * H, T, T)
        context = torch.bmm(weights, v, out=q).view(B, H, T, D)  # the queries have been used
        if dead is not None:
            context = context.masked_fill(dead, 0.0)
        # Contiguous already but where D = 1, of which flatten makes a view.
        context = context.transpose(1, 2).flatten(-2).contiguous()
        if need_weights:
            weights = weights.view(B, H, T, T)
            if dead is not None:
                weights = weights.masked_fill(dead, 0.0)
    output = F.linear(context, out_weight, out_bias) if plain else projection(context)
    if dead is not None:
        output = output.masked_fill(dead_queries(dead, batch_first=True), 0.0)
    if not need_weights:
        return output, None
    if not average_attn_weights:
        return output, weights
    if weights.element_size() > 2:
        return output, weights.mean(dim=1)
    return output, weights.sum(dim=1).div_(H)  # torch rounds a sum of half precision


def _merge(
    attn_mask: Bool[Tensor, "..."] | None,
    key_padding_mask: Bool[Tensor, "B T"] | None,
    shape: tuple[int, int, int, int],
    x: Float[Tensor, "B T E"],
    is_causal: bool,
) -> tuple[Bool[Tensor, "..."], int, Bool[Tensor, "b h t 1"] | None]:
    """Merge the masks into one and its kind, and find the rows that are masked throughout.

    Beside an attn_mask is_causal is a hint alone.

    Returns:
        (B, T) and PADDING, or (B, H, T, T) and PER_HEAD; and those rows, if any.
    """
    B, H, T, _ = shape
    if attn_mask is None and not is_causal:
        assert key_padding_mask is not None
        if key_padding_mask.shape != (B, T):
            padding_mask_4d(key_padding_mask, shape, x)  # which refuses it
        mask, kind = key_padding_mask, PADDING
    else:
        if attn_mask is None:
            mask = causal_mask(T, T, x.device)
        else:
            mask = attn_mask if attn_mask.shape == (T, T) else attn_mask_4d(attn_mask, shape, x)
        if key_padding_mask is not None:
            mask = mask | padding_mask_4d(key_padding_mask, shape, x)
        kind = PER_HEAD
    dead = None
    if mask.all(dim=-1).any():
        dead = mask.all(dim=-1, keepdim=True)
        dead = dead.view(B, 1, 1, 1) if kind == PADDING else dead.expand(B, H, T, 1)
    return mask if kind == PADDING else mask.expand(B, H, T, T), kind, dead
