"""Known bugs of attention implementations, to be planted one at a time; each must be caught.

They are bugs that people have had: most stand in the issue trackers of public frameworks. Each is a
few lines against the contract of `minitf.attention`, so that the list can grow.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minitf.attention import KeyValueCache, MultiHeadAttention
from minitf.attention.functional import append_learned_key, merge_heads, project_inputs
from minitf.attention.masks import AttentionMask, build_mask
from minitf.equivalence.planting import (
    Kernel,
    Planted,
    after_forward,
    attend,
    before_forward,
    in_kernel,
    planted,
    scores_of,
)

Result = tuple[Tensor, Tensor | None]

# In the kernel: scores, softmax, dropout, weighted sum ------------------------------------------


def _scaled_by(factor: float | None) -> Kernel:
    def kernel(original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any) -> Result:
        head_dim, heads = q.shape[-1], q.shape[1]
        return original(q * (factor or head_dim**0.5 / (head_dim * heads) ** 0.5), k, v, mask, **o)

    return kernel


def _no_scale(original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any) -> Result:
    return original(q * q.shape[-1] ** 0.5, k, v, mask, **o)


def _inverted(original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any) -> Result:
    if mask is not None:
        blocked = torch.isinf(mask)
        mask = torch.zeros_like(mask).masked_fill(~blocked, -1e4)
    return original(q, k, v, mask, **o)


def _sees_next(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, *, is_causal: bool, **o: Any
) -> Result:
    if is_causal:
        mask = q.new_full((q.shape[2], k.shape[2]), -torch.inf).triu(2)[None, None]
    return original(q, k, v, mask, is_causal=False, **o)


def _masked_forward_only(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any
) -> Result:
    context, weights = original(q, k, v, mask, **o)
    unmasked, _ = original(q, k, v, None, **o)
    return unmasked + (context - unmasked).detach(), weights


def _wrong_axis(
    _: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, *, is_causal: bool, dropout: float,
    need_weights: bool,
) -> Result:  # fmt: skip
    scores = scores_of(q, k, mask, is_causal)
    return attend(scores.softmax(-2).nan_to_num(), v, dropout, need_weights)


def _dropout_first(
    _: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, *, is_causal: bool, dropout: float,
    need_weights: bool,
) -> Result:  # fmt: skip
    scores = torch.dropout(scores_of(q, k, None, is_causal), dropout, dropout > 0)
    scores = scores if mask is None else scores + mask
    return attend(scores.softmax(-1), v, 0.0, need_weights)


def _unscaled_dropout(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, *, dropout: float, **o: Any
) -> Result:
    context, weights = original(q, k, v, mask, dropout=dropout, **o)
    return context * (1 - dropout), weights


def _shared_dropout(axis: int) -> Kernel:
    def kernel(
        _: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, *, is_causal: bool, dropout: float,
        need_weights: bool,
    ) -> Result:  # fmt: skip
        weights = scores_of(q, k, mask, is_causal).softmax(-1)
        ones = torch.ones_like(weights.narrow(axis, 0, min(1, weights.shape[axis])))
        kept = torch.dropout(ones, dropout, dropout > 0)
        return attend(weights * kept, v, 0.0, need_weights)

    return kernel


def _clamped_scores(
    _: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, *, is_causal: bool, dropout: float,
    need_weights: bool,
) -> Result:  # fmt: skip
    scores = scores_of(q, k, None, is_causal)
    scores = scores.where(scores.isinf(), scores.clamp(-30, 30))
    weights = (scores if mask is None else scores + mask).softmax(-1)
    return attend(weights.nan_to_num(), v, dropout, need_weights)


def _first_block_alone(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any
) -> Result:
    if k.shape[2] > 128 and not o["is_causal"]:
        beyond = torch.arange(k.shape[2], device=k.device) >= 128
        hidden = torch.zeros_like(k[:1, :1, :, 0]).masked_fill(beyond, -torch.inf)[..., None, :]
        mask = hidden if mask is None else mask + hidden
    return original(q, k, v, mask, **o)


def _detached_mask(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any
) -> Result:
    return original(q, k, v, None if mask is None else mask.detach(), **o)


def _bfloat16_softmax(
    _: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, *, is_causal: bool, dropout: float,
    need_weights: bool,
) -> Result:  # fmt: skip
    weights = scores_of(q, k, mask, is_causal).bfloat16().softmax(-1).to(q.dtype)
    return attend(weights, v, dropout, need_weights)


def _overflowing_softmax(
    _: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, *, is_causal: bool, dropout: float,
    need_weights: bool,
) -> Result:  # fmt: skip
    exponentials = scores_of(q, k, mask, is_causal).exp()
    return attend(exponentials / exponentials.sum(-1, keepdim=True), v, dropout, need_weights)


def _mask_before_scale(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any
) -> Result:
    return original(q, k, v, None if mask is None else mask / q.shape[-1] ** 0.5, **o)


def _float_mask_as_bool(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any
) -> Result:
    if mask is not None:
        mask = torch.zeros_like(mask).masked_fill(mask.isinf(), -torch.inf)
    return original(q, k, v, mask, **o)


def _heads_share_mask(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any
) -> Result:
    return original(q, k, v, None if mask is None else mask[:, :1], **o)


def _detached_value(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any
) -> Result:
    return original(q, k, v.detach(), mask, **o)


def _detached_weights(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any
) -> Result:
    return original(q.detach(), k.detach(), v, mask, **o)


def _next_sentence(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any
) -> Result:
    return original(q, k.roll(1, 0), v.roll(1, 0), mask, **o)


def _permuted_heads(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, **o: Any
) -> Result:
    context, weights = original(q, k, v, mask, **o)
    return context.roll(1, 1), weights


# In the functions of the module -------------------------------------------------------------------


def _queries_for_keys(query: Tensor, key: Tensor, value: Tensor, weight: Tensor, *rest: Any) -> Any:
    if query is not key:
        w_q, w_k, w_v = weight.chunk(3)
        weight = torch.cat([w_k, w_q, w_v])
    return project_inputs(query, key, value, weight, *rest)


def _no_value_bias(
    query: Tensor, key: Tensor, value: Tensor, weight: Tensor, bias: Any, *rest: Any
) -> Any:
    if bias is not None:
        b_q, b_k, b_v = bias.chunk(3)
        bias = torch.cat([b_q, b_k, torch.zeros_like(b_v)])
    return project_inputs(query, key, value, weight, bias, *rest)


def _value_from_key(query: Tensor, key: Tensor, value: Tensor, *rest: Any) -> Any:
    return project_inputs(query, key, key, *rest)


def _view_for_transpose(context: Tensor, batch_first: bool) -> Tensor:
    merged = merge_heads(context, batch_first)
    return context.contiguous().view(merged.shape)


def _per_head_mask_batch_last(attn_mask: Any, *args: Any, shape: Any, **options: Any) -> Any:
    batch, heads, target, source = shape
    if attn_mask is not None and attn_mask.shape == (batch * heads, target, source):
        attn_mask = attn_mask.view(heads, batch, target, source).transpose(0, 1)
    return build_mask(attn_mask, *args, shape=shape, **options)


def _offset_too_far(*args: Any, offset: int, **options: Any) -> AttentionMask:
    return build_mask(*args, offset=offset + 1 if offset else 0, **options)


def _key_for_value(x: Tensor, extra: Tensor) -> Tensor:
    return append_learned_key(x, extra * (1 + 1e-3))


# Before and after forward ---------------------------------------------------------------------


def _drop_cross_mask(_: MultiHeadAttention, arguments: dict[str, Any]) -> None:
    if arguments["query"] is not arguments["key"]:
        arguments["key_padding_mask"] = None


def _polarity(_: MultiHeadAttention, arguments: dict[str, Any]) -> None:
    mask = arguments.get("attn_mask")
    if mask is not None and mask.dtype == torch.bool and mask.dim() == 2:
        arguments |= {"attn_mask": ~mask, "is_causal": False}


def _write_mask(_: MultiHeadAttention, arguments: dict[str, Any]) -> None:
    mask = arguments.get("attn_mask")
    if mask is not None and mask.dtype != torch.bool:
        with torch.no_grad():
            mask.clamp_(max=0.0)


def _always_drop(module: MultiHeadAttention, _: dict[str, Any]) -> None:
    module.training = True


def _sum_weights(module: MultiHeadAttention, output: Tensor, weights: Any, options: Any) -> Result:
    if weights is not None and options.get("average_attn_weights", True):
        weights = weights * module.num_heads
    return output, weights


def _bias_twice(module: MultiHeadAttention, output: Tensor, weights: Any, _: Any) -> Result:
    bias = module.out_proj.bias
    return (output if bias is None else output + bias), weights


def _stale_keys(_: MultiHeadAttention, arguments: dict[str, Any]) -> None:
    """The values follow the beams, the keys stay where they were."""
    cache = arguments.get("cache")
    if cache is None:
        return

    def reorder(index: Tensor) -> None:
        held = cache._key
        KeyValueCache.reorder(cache, index)
        cache._key = held[torch.arange(len(index), device=index.device) % len(held)]

    cache.reorder = reorder


def _overwrite_newest(_: MultiHeadAttention, arguments: dict[str, Any]) -> None:
    """The position is counted one too low, so that a step writes over the last one's."""
    cache = arguments.get("cache")
    if cache is not None and not cache.static and cache.length:
        cache.length -= 1


BUGS: tuple[Planted, ...] = (
    in_kernel("scores are not scaled", _no_scale),
    in_kernel("scores are scaled by embed_dim", _scaled_by(None)),
    in_kernel("scores are a thousandth too large", _scaled_by(1.001)),
    in_kernel("mask is inverted", _inverted),
    before_forward("True means attend in a boolean attn_mask", _polarity),
    before_forward("padding mask is dropped in cross-attention", _drop_cross_mask),
    in_kernel("causal mask lets the next position through", _sees_next),
    in_kernel("mask is ignored in the backward pass", _masked_forward_only),
    in_kernel("additive mask is scaled like the scores", _mask_before_scale),
    in_kernel("additive mask is read as a boolean one", _float_mask_as_bool),
    in_kernel("every head gets the first head's mask", _heads_share_mask),
    planted("per-head mask is read batch last", build_mask=_per_head_mask_batch_last),
    before_forward("additive mask is changed in place", _write_mask),
    in_kernel("heads are permuted", _permuted_heads),
    planted("heads are merged by a view without a transpose", merge_heads=_view_for_transpose),
    planted("query's and key's projections change places in cross-attention",
            project_inputs=_queries_for_keys),
    planted("value is taken from key", project_inputs=_value_from_key),
    planted("bias is missing from the value projection", project_inputs=_no_value_bias),
    planted("learned key and value are a thousandth too large", append_learned_key=_key_for_value),
    after_forward("output bias is added twice", _bias_twice),
    in_kernel("softmax runs over the queries", _wrong_axis),
    in_kernel("softmax is computed in bfloat16", _bfloat16_softmax),
    in_kernel("softmax overflows for large scores", _overflowing_softmax),
    in_kernel("scores are kept between -30 and 30", _clamped_scores),
    in_kernel("keys beyond the first block are not seen", _first_block_alone),
    in_kernel("a sentence attends to its neighbour in the batch", _next_sentence),
    in_kernel("dropout comes before the softmax", _dropout_first),
    in_kernel("dropout does not rescale", _unscaled_dropout),
    in_kernel("dropout is the same for every sentence", _shared_dropout(0)),
    in_kernel("dropout is the same for every head", _shared_dropout(1)),
    in_kernel("dropout is the same for every query", _shared_dropout(2)),
    in_kernel("dropout is the same for every key", _shared_dropout(3)),
    before_forward("dropout stays on in eval", _always_drop),
    after_forward("weights are summed over the heads, not averaged", _sum_weights),
    in_kernel("no gradient reaches the values", _detached_value),
    in_kernel("no gradient passes through the weights", _detached_weights),
    in_kernel("no gradient reaches an additive mask", _detached_mask),
    planted("cached queries see one key too far", build_mask=_offset_too_far),
    before_forward("cache position is one too low", _overwrite_newest),
    before_forward("cached keys stay when beams are reordered", _stale_keys),
)  # fmt: skip


def _einsum(
    _: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, *, is_causal: bool, dropout: float,
    need_weights: bool,
) -> Result:  # fmt: skip
    """Another order of everything: scaled after the product, heads summed by einsum."""
    scores = torch.einsum("bhtd,bhsd->bhts", q, k) * q.shape[-1] ** -0.5
    if is_causal:
        mask = torch.full_like(scores[0, 0], -torch.inf).triu(1)
    weights = (scores if mask is None else scores + mask).softmax(-1)
    weights = F.dropout(weights, dropout)
    return torch.einsum("bhts,bhsd->bhtd", weights, v), weights if need_weights else None


def _blocks(
    original: Kernel, q: Tensor, k: Tensor, v: Tensor, mask: Any, *, is_causal: bool,
    dropout: float, need_weights: bool,
) -> Result:  # fmt: skip
    """Keys in blocks of 4 with a running maximum and sum, as FlashAttention goes (Dao 2022)."""
    if need_weights or dropout:
        return original(q, k, v, mask, is_causal=is_causal, dropout=dropout,
                        need_weights=need_weights)  # fmt: skip
    scores = scores_of(q, k, mask, is_causal)
    largest = torch.full_like(q[..., :1], -torch.inf)
    total, context = torch.zeros_like(largest), torch.zeros_like(q)
    for s, values in zip(torch.split(scores, 4, -1), torch.split(v, 4, -2), strict=True):
        new = torch.maximum(largest, s.detach().amax(-1, keepdim=True))
        safe = new.masked_fill(new == -torch.inf, 0.0)
        p, shrink = (s - safe).exp(), (largest - safe).exp()
        total, context = total * shrink + p.sum(-1, keepdim=True), context * shrink + p @ values
        largest = new
    return context / total, None


HARMLESS: tuple[Planted, ...] = (
    Planted("kernel=fast", MultiHeadAttention, {"kernel": "fast"}),
    in_kernel("einsum, scaled after the product", _einsum),
    in_kernel("keys in blocks with a running softmax", _blocks),
)
"""Correct, but with other bits; each must pass."""
