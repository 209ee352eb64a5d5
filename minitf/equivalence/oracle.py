"""The float64 oracle: attention written plainly from the paper, independent of any implementation.

Vaswani et al. 2017, "Attention is all you need", equation 1 and section 3.2.2:

    Attention(Q, K, V) = softmax(Q Kᵀ / sqrt(d_k)) V
    head_i = Attention(Q W_iᵠ, K W_iᴷ, V W_iⱽ)
    MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W_O

Heads are a Python loop and softmax is spelt out: nothing is shared with what is judged.
A row whose every key is masked attends to nothing: its weights, and their gradients, are zero.

Every intermediate result passes through a `Rounding`: none for the truth, a random one for the
yardstick of `minitf.equivalence.verdict`.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from minitf.equivalence.rounding import EXACT, Rounding


def softmax(scores: Tensor, rounding: Rounding = EXACT) -> Tensor:
    """exp(s) / sum exp(s) over the last axis, step by step; a row of -inf gives zeros."""
    largest = scores.detach().amax(-1, keepdim=True)
    largest = torch.where(largest.isfinite(), largest, 0.0)  # exp(s - s_max) cannot overflow
    exponentials = rounding(torch.exp(scores - largest))
    total = rounding(exponentials.sum(-1, keepdim=True))
    total = torch.where(total == 0, 1.0, total).expand_as(scores)
    return rounding(exponentials / rounding(total))


def additive(mask: Tensor) -> Tensor:
    """A mask as an addend to the scores: True in a boolean mask becomes -inf."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=torch.float64).masked_fill(mask, -torch.inf)
    return mask.double()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, rounding: Rounding) -> Tensor:
    """Compute x Wᵀ + b as one product, b a row more of Wᵀ, so that b's gradient is rounded too."""
    if bias is None:
        return rounding.product(x, weight.T)
    ones = x.new_ones(*x.shape[:-1], 1)
    return rounding.product(torch.cat([x, ones], -1), torch.cat([weight, bias[:, None]], -1).T)


_INPUT_WEIGHTS = {"q_proj_weight", "k_proj_weight", "v_proj_weight"}
_OPTIONAL = {"in_proj_bias", "out_proj.bias", "bias_k", "bias_v"}


def has_torch_names(state: Mapping[str, Tensor]) -> bool:
    """Whether parameters have the names that the oracle reads, and there are no others."""
    for weights in ({"in_proj_weight"}, _INPUT_WEIGHTS):
        needed = {*weights, "out_proj.weight"}
        if needed <= state.keys() <= needed | _OPTIONAL:
            return True
    return False


def _projections(state: Mapping[str, Tensor], embed_dim: int) -> list[tuple[Tensor, Tensor | None]]:
    """Weight and bias of query, key and value, from torch's state_dict names."""
    if "in_proj_weight" in state:
        weights = list(torch.split(state["in_proj_weight"], embed_dim))
    else:
        weights = [state[f"{name}_proj_weight"] for name in "qkv"]
    bias = state.get("in_proj_bias")
    biases = [None] * 3 if bias is None else list(torch.split(bias, embed_dim))
    return list(zip(weights, biases, strict=True))


def multi_head_attention(
    state: Mapping[str, Tensor],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    num_heads: int,
    attn_mask: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    add_zero_attn: bool = False,
    rotary_base: float | None = None,
    kept: Tensor | None = None,
    blind_zero: bool = True,
    rounding: Rounding = EXACT,
) -> tuple[Tensor, Tensor]:
    """Multi-head attention in float64, batch first.

    Args:
        state: parameters in float64 under the names of torch.nn.MultiheadAttention.
        query: (B, T, E) float64.
        key: (B, S, Ek) float64.
        value: (B, S, Ev) float64.
        num_heads: H; each head has E / H dimensions.
        attn_mask: (T, S) or (B·H, T, S); True or -inf: blocked; other
            floats are added to the scores.
        key_padding_mask: (B, S), of the same meaning.
        add_zero_attn: append a key and a value of zeros.
        rotary_base: turn queries and keys by their positions.
        kept: (B, H, T, S') factors of the weights: dropout's mask, 0 or 1 / (1 - p).
        blind_zero: a query that sees no key in any head has zero output; if False, its weights are
            zero all the same, and its output is the output projection's bias.
        rounding: applied to every intermediate result.

    Returns:
        The output (B, T, E), and each head's weights (B, H, T, S'), dropout included.
    """
    batch, target, embed_dim = query.shape
    head_dim = embed_dim // num_heads
    q, k, v = (
        linear(x, *projection, rounding)
        for x, projection in zip((query, key, value), _projections(state, embed_dim), strict=True)
    )
    if "bias_k" in state:  # one learnt key and value more
        k = torch.cat([k, state["bias_k"].expand(batch, 1, embed_dim)], dim=1)
        v = torch.cat([v, state["bias_v"].expand(batch, 1, embed_dim)], dim=1)
    if add_zero_attn:
        k = torch.cat([k, k.new_zeros(batch, 1, embed_dim)], dim=1)
        v = torch.cat([v, v.new_zeros(batch, 1, embed_dim)], dim=1)

    mask = _score_mask(attn_mask, key_padding_mask, (batch, num_heads, target, key.shape[1]))
    mask = nn.functional.pad(mask.to(k.device), (0, k.shape[1] - key.shape[1]))
    heads, weights = [], []
    for h in range(num_heads):
        part = slice(h * head_dim, (h + 1) * head_dim)
        q_head, k_head = q[..., part], k[..., part]
        if rotary_base is not None:
            q_head, k_head = (rounding(rotate(x, rotary_base)) for x in (q_head, k_head))
        scores = rounding.product(q_head, k_head.mT)
        scores = rounding(scores / math.sqrt(head_dim))
        p = softmax(rounding(scores + mask[:, h]), rounding)
        if kept is not None:
            p = rounding(p * kept[:, h])
        heads.append(rounding.product(p, v[..., part]))
        weights.append(p)
    output = linear(
        torch.cat(heads, dim=-1), state["out_proj.weight"], state.get("out_proj.bias"), rounding
    )
    if blind_zero:
        blind = (mask == -torch.inf).all(-1).all(1)  # (B, T)
        output = output.masked_fill(blind[..., None], 0.0)
    return output, torch.stack(weights, dim=1)


def _score_mask(
    attn_mask: Tensor | None, key_padding_mask: Tensor | None, shape: tuple[int, int, int, int]
) -> Tensor:
    """Both masks, summed, as one addend to the scores (B, H, T, S)."""
    batch, _, _, source = shape
    total = torch.zeros(shape, dtype=torch.float64)
    if attn_mask is not None:
        mask = additive(attn_mask)
        total = total.to(mask.device)
        total = total + (mask.view(shape) if mask.dim() == 3 else mask)
    if key_padding_mask is not None:
        mask = additive(key_padding_mask)
        total = total.to(mask.device) + mask.view(batch, 1, 1, source)
    return total


def rotate(x: Tensor, base: float) -> Tensor:
    """Turn the pair (x_i, x_(i + D/2)) at position m by m base^(-2i/D) (Su et al. 2021, eq. 15)."""
    length, head_dim = x.shape[-2:]
    pair = torch.arange(0, head_dim, 2, dtype=torch.float64, device=x.device)
    position = torch.arange(length, dtype=torch.float64, device=x.device)
    angle = position[:, None] * base ** (pair / -head_dim)
    turn = torch.complex(angle.cos(), angle.sin())
    first, second = x.split(head_dim // 2, dim=-1)  # type: ignore[no-untyped-call]
    turned = torch.complex(first, second) * turn
    return torch.cat([turned.real, turned.imag], dim=-1)


class OracleAttention(nn.Module):
    """The oracle with the interface of torch.nn.MultiheadAttention, for whole models in float64.

    Set `rounding` to a `RandomRounding` for the yardstick. Dropout is never applied.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        batch_first: bool = True,
        rotary_base: float | None = None,
    ) -> None:
        super().__init__()
        assert batch_first, "whole models are batch first"
        self.num_heads = num_heads
        self.rotary_base = rotary_base
        self.rounding: Rounding = EXACT
        self.add_zero_attn = add_zero_attn
        like = nn.MultiheadAttention(
            embed_dim, num_heads, bias=bias, add_bias_kv=add_bias_kv, dtype=torch.float64
        )
        self.in_proj_weight, self.in_proj_bias = like.in_proj_weight, like.in_proj_bias
        self.bias_k, self.bias_v = like.bias_k, like.bias_v
        self.out_proj = like.out_proj

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """See torch.nn.MultiheadAttention; `is_causal` without a mask is causal."""
        if is_causal and attn_mask is None:
            attn_mask = causal_mask(query.shape[1], key.shape[1], query.device)
        output, weights = multi_head_attention(
            dict(self.named_parameters()),
            query,
            key,
            value,
            num_heads=self.num_heads,
            attn_mask=attn_mask,
            key_padding_mask=key_padding_mask,
            add_zero_attn=self.add_zero_attn,
            rotary_base=self.rotary_base,
            rounding=self.rounding,
        )
        if not need_weights:
            return output, None
        return output, weights.mean(1) if average_attn_weights else weights


def causal_mask(target: int, source: int, device: torch.device | None = None) -> Tensor:
    """(T, S), True where the key comes after the query: position t sees keys 0 to t."""
    return torch.ones(target, source, dtype=torch.bool, device=device).triu(1)
