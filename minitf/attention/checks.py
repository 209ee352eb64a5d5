"""What the inputs of a forward must be. Every message states the rule and what was received."""

from torch import Tensor

from minitf.attention.errors import AttentionError


def check_sizes(embed_dim: int, num_heads: int, dropout: float) -> None:
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
    if not 0.0 <= dropout <= 1.0:
        raise AttentionError(f"dropout is a probability between 0 and 1, got {dropout}")


def check_dimensions(
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
) -> None:
    """Check that all inputs are batched (query 3-D) or all are not (query 2-D).

    Raises:
        AttentionError: a tensor has another number of dimensions.
    """
    if query.dim() not in (2, 3):
        raise AttentionError(
            "query should be unbatched 2D or batched 3D tensor but received "
            f"{query.dim()}-D query tensor"
        )
    batched = query.dim() == 3
    given = f"For {'batched' if batched else 'unbatched'} ({query.dim()}-D) `query`, expected"
    if key is not None and value is not None and not key.dim() == value.dim() == query.dim():
        raise AttentionError(
            f"{given} `key` and `value` to be {query.dim()}-D but found {key.dim()}-D and "
            f"{value.dim()}-D tensors respectively"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != query.dim() - 1:
        raise AttentionError(
            f"{given} `key_padding_mask` to be `None` or {query.dim() - 1}-D but found "
            f"{key_padding_mask.dim()}-D tensor instead"
        )
    if attn_mask is not None and attn_mask.dim() not in (2, 3, 4):
        raise AttentionError(
            f"{given} `attn_mask` to be `None`, 2-D or 3-D (or 4-D) but found "
            f"{attn_mask.dim()}-D tensor instead"
        )


def check_sizes_match(
    query: Tensor,
    key: Tensor | None,
    value: Tensor | None,
    widths: tuple[int, int, int],
    batch_dim: int,
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
    if key is None or value is None:
        return
    for name, tensor, width in (("key", key, widths[1]), ("value", value, widths[2])):
        if tensor.shape[-1] != width:
            raise AttentionError(
                f"{name} must have {width} features (the constructor's "
                f"{name[0]}dim), got {tensor.shape[-1]}"
            )
    if key.shape[:2] != value.shape[:2]:
        raise AttentionError(
            f"key's sequence and batch dims {tuple(key.shape[:2])} do not match value's "
            f"{tuple(value.shape[:2])}"
        )
    if key.shape[batch_dim] != query.shape[batch_dim]:
        raise AttentionError(
            f"query and key must have one batch size, got {query.shape[batch_dim]} and "
            f"{key.shape[batch_dim]}"
        )
