"""The steps of multi-head attention that are the same for every kernel, as pure functions.

    inputs -> project_inputs -> split_heads -> (a kernel) -> merge_heads -> output projection

Shape letters: B batch, T target (query) length, S source (key) length, E embed_dim, H heads,
D = E / H head_dim. Activations are *sequence-first*, (T, B, E), or *batch-first*, (B, T, E); per
head they are always (B, H, T, D), a view either way.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def project_inputs(
    query: Float[Tensor, "*rows E"],
    key: Float[Tensor, "*key_rows E"],
    value: Float[Tensor, "*key_rows E"],
    weight: Float[Tensor, "three_E E"],
    bias: Float[Tensor, " three_E"] | None,
    slices: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    """Project with one packed matrix: q = query W_qᵀ + b_q, and k and v likewise.

    Where inputs are the same tensor object, their projections are one matrix product: all three in
    self-attention, key and value in cross-attention.

    Args:
        query: any leading dimensions, such as (T, B, E).
        key: such as (S, B, E).
        value: the shape of key.
        weight: W_q, W_k, W_v stacked: (3E, E).
        bias: b_q, b_k, b_v in a row: (3E,).
        slices: whether results may be slices of one product, else each is contiguous.
    """
    E = query.shape[-1]
    if query is key and key is value:
        q, k, v = _unpack(F.linear(query, weight, bias), 3, slices)
        return q, k, v
    if key is value:
        w_q, w_kv = torch.split(weight, [E, 2 * E])
        b_q, b_kv = (None, None) if bias is None else torch.split(bias, [E, 2 * E])
        k, v = _unpack(F.linear(key, w_kv, b_kv), 2, slices)
        return F.linear(query, w_q, b_q), k, v
    w_q, w_k, w_v = weight.chunk(3)
    return project_separately(query, key, value, (w_q, w_k, w_v), bias)


def _unpack(packed: Float[Tensor, "*rows parts_E"], parts: int, slices: bool) -> tuple[Tensor, ...]:
    if slices:
        return packed.chunk(parts, dim=-1)
    # (…, parts · E) -> (parts, …, E): one copy for all
    stacked = packed.view(*packed.shape[:-1], parts, -1).movedim(-2, 0)
    return stacked.contiguous().unbind()


def project_separately(
    query: Float[Tensor, "*rows E"],
    key: Float[Tensor, "*key_rows kdim"],
    value: Float[Tensor, "*key_rows vdim"],
    weights: tuple[Tensor, Tensor, Tensor],
    bias: Float[Tensor, " three_E"] | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Project with three matrices, (E, E), (E, kdim) and (E, vdim)."""
    w_q, w_k, w_v = weights
    b_q, b_k, b_v = (None, None, None) if bias is None else bias.chunk(3)
    return F.linear(query, w_q, b_q), F.linear(key, w_k, b_k), F.linear(value, w_v, b_v)


def project_query(
    query: Float[Tensor, "*rows E"],
    weight: Float[Tensor, "E_or_three_E E"],
    bias: Float[Tensor, " three_E"] | None,
) -> Float[Tensor, "*rows E"]:
    """Project the query alone, where keys and values are in a cache.

    Args:
        query: any leading dimensions.
        weight: W_q alone or packed.
        bias: packed.
    """
    E = query.shape[-1]
    return F.linear(query, weight[:E], None if bias is None else bias[:E])


def split_heads(
    x: Float[Tensor, "rows columns E"], num_heads: int, batch_first: bool
) -> Float[Tensor, "B H T D"]:
    """Cut E into H slices of D and bring the heads before the positions; a view.

    Args:
        x: (B, T, E) if batch_first, else (T, B, E).
        num_heads: H.
        batch_first: whether the batch is x's first dimension.
    """
    rows, columns, E = x.shape
    D = E // num_heads
    if batch_first:
        return x.view(rows, columns, num_heads, D).permute(0, 2, 1, 3)
    if x.is_contiguous():
        # By way of (T, B·H, D), as torch goes: so the gradient comes back contiguous, and the
        # bias's gradient, a sum in memory order, is torch's to the last bit.
        x = x.view(rows, columns * num_heads, D).transpose(0, 1)
        return x.view(columns, num_heads, rows, D)
    # A slice of a packed projection; the packing makes the gradient contiguous.
    return x.view(rows, columns, num_heads, D).permute(1, 2, 0, 3)


def merge_heads(
    context: Float[Tensor, "B H T D"], batch_first: bool
) -> Float[Tensor, "rows columns E"]:
    """Concatenate the heads' results: (B, T, E) if batch_first, else (T, B, E)."""
    context = context.permute(0, 2, 1, 3) if batch_first else context.permute(2, 0, 1, 3)
    return context.flatten(-2)  # (…, H, D) -> (…, E)


def append_learned_key(
    x: Float[Tensor, "B H S D"], row: Float[Tensor, "1 1 E"]
) -> Float[Tensor, "B H S_plus_1 D"]:
    """Append one learned position to keys or values (add_bias_kv); in memory (S + 1, B, H, D)."""
    B, H, _, D = x.shape
    rows = row.view(1, 1, H, D).expand(1, B, H, D)
    return torch.cat([x.permute(2, 0, 1, 3), rows]).permute(1, 2, 0, 3)


def append_zero_key(x: Float[Tensor, "B H S D"]) -> Float[Tensor, "B H S_plus_1 D"]:
    """Append one position of zeros to keys or values (add_zero_attn)."""
    B, H, _, D = x.shape
    return torch.cat([x, x.new_zeros(B, H, 1, D)], dim=2)
