"""What the inputs of a forward must be. Every message states the rule and what was received."""

import torch
from torch import Tensor

from minitf.attention.errors import AttentionError


def check_sizes(
    embed_dim: int, num_heads: int, dropout: float, kdim: int | None, vdim: int | None
) -> None:
    """Check a constructor's numbers.

    Raises:
        AttentionError: a size is not positive, heads do not divide embed_dim, or dropout is not in
            [0, 1].
    """
    if embed_dim <= 0 or num_heads <= 0:
        raise AttentionError(
            f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and "
            f"num_heads={num_heads} instead"
        )
    if embed_dim % num_heads:
        raise AttentionError(
            f"embed_dim must be divisible by num_heads, got embed_dim={embed_dim} and "
            f"num_heads={num_heads}"
        )
    for name, width in (("kdim", kdim), ("vdim", vdim)):
        if width is not None and width <= 0:
            raise AttentionError(f"{name} must be greater than 0 or None, got {width}")
    if not 0.0 <= dropout <= 1.0:
        raise AttentionError(f"dropout is a probability between 0 and 1, got {dropout}")


def check_dimensions(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    num_heads: int,
    num_held: int,
) -> None:
    """Check that all inputs are batched (query 3-D) or all are not (query 2-D).

    Args:
        query: 2-D or 3-D.
        key: as the query.
        value: as the query.
        key_padding_mask: of one dimension less.
        attn_mask: 2-D to 4-D.
        num_heads: H.
        num_held: keys in a cache, which stand before `key`'s.

    Raises:
        AttentionError: a tensor has another number of dimensions, or a 3-D mask of unbatched
            inputs is not (H, T, S).
    """
    dims = query.dim()
    if dims not in (2, 3):
        raise AttentionError(
            f"query should be unbatched 2D or batched 3D tensor but received {dims}-D query tensor"
        )
    given = f"For {'batched' if dims == 3 else 'unbatched'} ({dims}-D) `query`, expected"
    if key.dim() != dims or value.dim() != dims:
        raise AttentionError(
            f"{given} `key` and `value` to be {dims}-D but found {key.dim()}-D and "
            f"{value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != dims - 1:
        raise AttentionError(
            f"{given} `key_padding_mask` to be `None` or {dims - 1}-D but found "
            f"{key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is None:
        return
    if attn_mask.dim() not in (2, 3, 4):
        raise AttentionError(
            f"{given} `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.dim()}-D tensor "
            "instead (4-D is taken too)"
        )
    expected = (num_heads, query.shape[0], num_held + key.shape[0])
    if dims == 2 and attn_mask.dim() == 3 and attn_mask.shape != expected:
        raise AttentionError(
            f"Expected `attn_mask` shape to be {expected} but got {tuple(attn_mask.shape)}"
        )


def check_shapes(
    query: Tensor, key: Tensor, value: Tensor, widths: tuple[int, ...], batch_dim: int
) -> None:
    """Check the sizes of batched inputs.

    Args:
        query: 3-D.
        key: 3-D.
        value: 3-D.
        widths: embed_dim, kdim and vdim.
        batch_dim: the batch's dimension, 0 or 1.

    Raises:
        AttentionError: a width differs from the constructor's, key and value differ in length, or
            the three in batch size.
    """
    if query.shape[-1] != widths[0]:
        raise AttentionError(
            f"was expecting embedding dimension of {widths[0]}, but got {query.shape[-1]}"
        )
    if key.shape[:2] != value.shape[:2]:
        raise AttentionError(
            f"key's sequence and batch dims {tuple(key.shape[:2])} do not match value's "
            f"{tuple(value.shape[:2])}"
        )
    if (key.shape[-1], value.shape[-1]) != widths[1:]:
        raise AttentionError(
            f"key and value must have kdim={widths[1]} and vdim={widths[2]} features, got "
            f"{key.shape[-1]} and {value.shape[-1]}"
        )
    if key.shape[batch_dim] != query.shape[batch_dim]:
        raise AttentionError(
            f"query and key must have one batch size, got {query.shape[batch_dim]} and "
            f"{key.shape[batch_dim]}"
        )


def check_dtypes(inputs: tuple[Tensor, Tensor, Tensor], dtype: torch.dtype) -> None:
    """Check that query, key and value have the weights' data type; autocast brings them to its own.

    Raises:
        AttentionError: one has another.
    """
    for name, x in zip(("query", "key", "value"), inputs, strict=True):
        if x.dtype != dtype and not torch.is_autocast_enabled(x.device.type):
            raise AttentionError(f"{name} must have the weights' dtype {dtype}, got {x.dtype}")
