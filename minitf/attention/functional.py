"""The steps of multi-head attention that are the same for every kernel, as pure functions.

    inputs -> project_inputs -> split_heads -> (a kernel) -> merge_heads -> output projection

Shape letters: B batch, T target (query) length, S source (key) length, E embed_dim, H heads,
D = E / H head_dim. Activations are *sequence-first*, (T, B, E), or *batch-first*, (B, T, E); per
head they are always (B, H, T, D), a view either way.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from minitf.attention.linear import apply_linear, linear

_TORCH_KEEPS_VIEWS = torch.__version__ >= "2.13"


class HeadLayout(NamedTuple):
    """How inputs are projected, and projections split into heads."""

    num_heads: int
    batch_first: bool
    """Projections are (B, L, E) rather than (L, B, E)."""
    slices: bool
    """Parts of a packed projection may be slices of it; else they are copied apart."""
    linear: Callable[..., Tensor] = F.linear
    """torch's function, or one that agrees with it within rounding."""


def project_inputs(
    query: Float[Tensor, "_ _ E"],
    key: Float[Tensor, "_ _ E"],
    value: Float[Tensor, "_ _ E"],
    weight: Float[Tensor, "three_E E"],
    bias: Float[Tensor, " three_E"] | None,
    heads: HeadLayout,
) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H S D"], Float[Tensor, "B H S D"]]:
    """Project with one packed matrix, q = query W_qᵀ + b_q and k and v likewise, and split heads.

    Where inputs are the same tensor object, their projections are one matrix product: all three in
    self-attention, key and value in cross-attention.

    Args:
        query: (T, B, E) or (B, T, E).
        key: (S, B, E) or (B, S, E).
        value: the shape of key.
        weight: W_q, W_k, W_v stacked.
        bias: b_q, b_k, b_v in a row.
        heads: how to split.
    """
    E = query.shape[-1]
    if query is key and key is value:
        q, k, v = _unpack(heads.linear(query, weight, bias), 3, heads)
        return q, k, v
    if key is value:
        w_q, w_kv = torch.split(weight, [E, 2 * E])
        b_q, b_kv = (None, None) if bias is None else torch.split(bias, [E, 2 * E])
        k, v = _unpack(heads.linear(key, w_kv, b_kv), 2, heads)
        return split_heads(heads.linear(query, w_q, b_q), heads), k, v
    w_q, w_k, w_v = weight.chunk(3)
    return project_separately(query, key, value, (w_q, w_k, w_v), bias, heads)


def project_separately(
    query: Float[Tensor, "_ _ E"],
    key: Float[Tensor, "_ _ kdim"],
    value: Float[Tensor, "_ _ vdim"],
    weights: tuple[Tensor, Tensor, Tensor],
    bias: Float[Tensor, " three_E"] | None,
    heads: HeadLayout,
) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H S D"], Float[Tensor, "B H S D"]]:
    """Project with three matrices, (E, E), (E, kdim) and (E, vdim), and split heads."""
    w_q, w_k, w_v = weights
    b_q, b_k, b_v = (None, None, None) if bias is None else bias.chunk(3)
    product = heads.linear
    q, k, v = product(query, w_q, b_q), product(key, w_k, b_k), product(value, w_v, b_v)
    return split_heads(q, heads), split_heads(k, heads), split_heads(v, heads)


def project_query(
    query: Float[Tensor, "_ _ E"],
    weight: Float[Tensor, "E_or_three_E E"],
    bias: Float[Tensor, " three_E"] | None,
    heads: HeadLayout,
) -> Float[Tensor, "B H T D"]:
    """Project the query alone, where keys and values are in a cache.

    Args:
        query: (T, B, E) or (B, T, E).
        weight: W_q alone or packed.
        bias: packed.
        heads: how to split.
    """
    E = query.shape[-1]
    bias = None if bias is None else bias[:E]
    return split_heads(heads.linear(query, weight[:E], bias), heads)


def split_heads(x: Float[Tensor, "_ _ E"], heads: HeadLayout) -> Float[Tensor, "B H L D"]:
    """Cut E into H slices of D and bring the heads before the positions; a view."""
    rows, columns, E = x.shape
    H, D = heads.num_heads, E // heads.num_heads
    if heads.batch_first:
        return x.view(rows, columns, H, D).transpose(1, 2)
    # By way of (L, B·H, D), as torch goes: so the gradient comes back contiguous, and the bias's
    # gradient, a sum in memory order, is torch's to the last bit.
    return x.view(rows, columns * H, D).transpose(0, 1).view(columns, H, rows, D)


def _unpack(
    packed: Float[Tensor, "rows columns parts_E"], parts: int, heads: HeadLayout
) -> tuple[Tensor, ...]:
    """Cut a packed projection into its parts and these into heads, (B, H, L, D) each."""
    rows, columns, width = packed.shape
    H, D = heads.num_heads, width // (parts * heads.num_heads)
    if heads.slices:
        split = (x.view(rows, columns, H, D) for x in packed.chunk(parts, dim=-1))
        if heads.batch_first:
            return tuple(x.transpose(1, 2) for x in split)
        return tuple(x.permute(1, 2, 0, 3) for x in split)
    # (L, B, parts · E) -> (parts, L, B, E): one copy for all, laid out as split_heads' input is
    stacked = packed.view(rows, columns, parts, H * D).movedim(2, 0).contiguous()
    if heads.batch_first:
        return stacked.view(parts, rows, columns, H, D).transpose(2, 3).unbind()
    stacked = stacked.view(parts, rows, columns * H, D).transpose(1, 2)
    return stacked.view(parts, columns, H, rows, D).unbind()


def merge_heads(
    context: Float[Tensor, "B H T D"], batch_first: bool
) -> Float[Tensor, "rows columns E"]:
    """Concatenate the heads' results: (B, T, E) if batch_first, else (T, B, E)."""
    B, _, _, D = context.shape
    context = context.permute(0, 2, 1, 3) if batch_first else context.permute(2, 0, 1, 3)
    # Of one head flatten alone would make a view that is not contiguous, and the projection of that
    # adds in another order than torch's, which copies; but for one sentence and D = 1 since 2.13.
    if batch_first or D > 1 or B > 1 or not _TORCH_KEEPS_VIEWS:
        context = context.contiguous()
    return context.flatten(-2)  # (…, H, D) -> (…, E)


def project_output(
    projection: nn.Module, context: Float[Tensor, "rows columns E"], heads: HeadLayout
) -> Float[Tensor, "rows columns _"]:
    """W_o and its bias; row by row where the context is a view, as torch multiplies it."""
    if heads.linear is linear:
        return apply_linear(projection, context)
    if context.is_contiguous():
        return projection(context)  # type: ignore[no-any-return]
    return projection(context.flatten(0, 1)).unflatten(0, context.shape[:2])  # type: ignore[no-any-return]


def append_learned_key(
    x: Float[Tensor, "B H S D"], row: Float[Tensor, "1 1 E"]
) -> Float[Tensor, "B H S_plus_1 D"]:
    """Append one learned position to keys or values (add_bias_kv); in memory (S + 1, B, H, D)."""
    B, H, _, D = x.shape
    # repeat, not expand, as torch does: its gradient is the sum over B in another order.
    rows = row.repeat(1, B, 1).view(1, B, H, D)
    return torch.cat([x.permute(2, 0, 1, 3), rows]).permute(1, 2, 0, 3)


def append_zero_key(x: Float[Tensor, "B H S D"]) -> Float[Tensor, "B H S_plus_1 D"]:
    """Append one position of zeros to keys or values (add_zero_attn)."""
    B, H, _, D = x.shape
    return torch.cat([x, x.new_zeros(B, H, 1, D)], dim=2)
