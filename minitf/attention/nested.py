"""Nested tensors: a batch of sequences of different lengths, without padding."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from minitf.attention.cache import KeyValueCache
from minitf.attention.errors import AttentionError

if TYPE_CHECKING:
    from minitf.attention.module import MultiHeadAttention


def nested_forward(
    attention: "MultiHeadAttention",
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    *,
    need_weights: bool,
    average_attn_weights: bool,
    is_causal: bool,
    cache: KeyValueCache | None,
) -> tuple[Tensor, Tensor | None]:
    """Pad, attend with the padding masked, and cut the padding off again.

    Returns:
        The output, nested as the query is; the weights, padded with zeros.

    Raises:
        AttentionError: inputs that are not nested, a mask or cache beside nested inputs, or
            batch_first=False.
    """
    if query.dim() != 3:
        raise AttentionError(
            f"query should be unbatched 2D or batched 3D tensor but received {query.dim()}-D query "
            "tensor"
        )
    if key is None or value is None or not (key.is_nested and value.is_nested):
        raise AttentionError("with a nested query, key and value must be nested tensors too")
    if key_padding_mask is not None or attn_mask is not None or cache is not None:
        raise AttentionError("nested tensors take no masks and no cache: lengths are their mask")
    if not attention.batch_first:
        raise AttentionError("nested tensors need batch_first=True")
    padded = {id(x): pad_sequence(list(x.unbind()), batch_first=True) for x in (query, key, value)}
    target_lengths = [len(row) for row in query.unbind()]
    lengths = [[len(row) for row in x.unbind()] for x in (key, value)]
    if lengths[0] != lengths[1]:
        raise AttentionError(
            f"nested keys and values must have the same lengths, got {lengths[0]} and {lengths[1]}"
        )
    source_lengths = torch.tensor(lengths[0], device=query.device)
    positions = torch.arange(padded[id(key)].shape[1], device=query.device)
    output, weights = attention.forward(  # hooks have run, and will
        padded[id(query)],
        padded[id(key)],
        padded[id(value)],
        key_padding_mask=positions >= source_lengths[:, None],
        need_weights=need_weights,
        average_attn_weights=average_attn_weights,
        is_causal=is_causal,
    )
    rows = [row[:length] for row, length in zip(output, target_lengths, strict=True)]
    if weights is not None:
        steps = torch.arange(weights.shape[-2], device=weights.device)
        padding = steps >= torch.tensor(target_lengths, device=weights.device)[:, None]  # (B, T)
        padding = padding[:, :, None] if weights.dim() == 3 else padding[:, None, :, None]
        weights = weights.masked_fill(padding, 0.0)
    return _nest(rows, query), weights


def _nest(rows: list[Tensor], like: Any) -> Tensor:
    """Nest the rows as another tensor is; by its own offsets, so that the two can be added."""
    if like.layout == torch.jagged and like.lengths() is None:
        return torch.nested.nested_tensor_from_jagged(torch.cat(rows), like.offsets())
    return torch.nested.as_nested_tensor(rows, layout=like.layout)
