"""An attention written by itself, batch first and by einsum: correct, and with other bits."""

import torch
from torch import Tensor, nn


class PlainAttention(nn.Module):
    """torch.nn.MultiheadAttention without kdim, extra keys and care for fully masked queries."""

    def __init__(self, embed_dim, num_heads, dropout=0.0, bias=True, batch_first=True, dtype=None):
        super().__init__()
        self.batch_first = batch_first
        self.num_heads, self.dropout = num_heads, dropout
        like = nn.MultiheadAttention(embed_dim, num_heads, bias=bias, dtype=dtype)
        self.in_proj_weight, self.in_proj_bias = like.in_proj_weight, like.in_proj_bias
        self.out_proj = like.out_proj

    def forward(
        self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None,
        average_attn_weights=True, is_causal=False,
    ):  # fmt: skip
        head_dim = query.shape[-1] // self.num_heads
        unbatched = query.dim() == 2
        if unbatched:
            query, key, value = (x[None] for x in (query, key, value))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
        elif not self.batch_first:
            query, key, value = (x.transpose(0, 1) for x in (query, key, value))
        weights = self.in_proj_weight.chunk(3)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = (
            nn.functional.linear(x, w, b).unflatten(-1, (self.num_heads, head_dim))
            for x, w, b in zip((query, key, value), weights, biases, strict=True)
        )
        scores = torch.einsum("bthd,bshd->bhts", q, k) / head_dim**0.5
        scores = self.masked(scores, attn_mask, key_padding_mask)
        p = torch.dropout(scores.softmax(-1), self.dropout, self.training)
        output = self.out_proj(torch.einsum("bhts,bshd->bthd", p, v).flatten(-2))
        p = p.mean(1) if average_attn_weights else p
        if unbatched:
            output, p = output[0], p[0]
        elif not self.batch_first:
            output = output.transpose(0, 1)
        return output, p if need_weights else None

    def masked(self, scores: Tensor, attn_mask, key_padding_mask) -> Tensor:
        if attn_mask is not None:
            mask = additive(attn_mask, scores)
            scores = scores + (mask.view_as(scores) if mask.dim() == 3 else mask)
        if key_padding_mask is not None:
            scores = scores + additive(key_padding_mask, scores)[:, None, None, :]
        return scores


def additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)


class DropsPaddingInCrossAttention(PlainAttention):
    def forward(self, query, key, value, key_padding_mask=None, **options):
        if query is not key:
            key_padding_mask = None
        return super().forward(query, key, value, key_padding_mask=key_padding_mask, **options)


class OtherNames(nn.Module):
    """torch's module, its parameters under other names."""

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.inner = nn.MultiheadAttention(*args, **kwargs)

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs)
