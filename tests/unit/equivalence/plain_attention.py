"""An attention written by itself, batch first and by einsum: correct, and with other bits."""

import torch
from torch import Tensor, nn


class PlainAttention(nn.Module):
    """The part of torch.nn.MultiheadAttention that models use: no kdim, no extra keys."""

    def __init__(
        self,
        embed_dim,
        num_heads,
        dropout=0.0,
        bias=True,
        batch_first=True,
        device=None,
        dtype=None,
    ):
        super().__init__()
        assert batch_first
        self.num_heads, self.dropout = num_heads, dropout
        like = nn.MultiheadAttention(embed_dim, num_heads, bias=bias, device=device, dtype=dtype)
        self.in_proj_weight, self.in_proj_bias = like.in_proj_weight, like.in_proj_bias
        self.out_proj = like.out_proj

    def forward(
        self, query, key, value, key_padding_mask=None, need_weights=True, attn_mask=None,
        average_attn_weights=True, is_causal=False,
    ):  # fmt: skip
        head_dim = query.shape[-1] // self.num_heads
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
        if not need_weights:
            return output, None
        return output, p.mean(1) if average_attn_weights else p

    def masked(self, scores: Tensor, attn_mask, key_padding_mask) -> Tensor:
        if attn_mask is not None:
            scores = scores + additive(attn_mask, scores)
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
