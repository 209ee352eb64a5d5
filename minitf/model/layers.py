"""Encoder and decoder layers, with the parameter names of torch's own.

`nn.TransformerEncoderLayer` and `nn.TransformerDecoderLayer` load these layers' weights as they are
and compute the same, with `relu` or `gelu` and without rotary positions.

Shapes: B sentences, N target rows (B, or B times the beam's size), T target length, S source
length, E embed_dim. Masks are torch's: True means "do not attend".
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from minitf.attention import KeyValueCache
from minitf.attention.errors import OutputError
from minitf.attention.linear import apply_linear
from minitf.model.dropout import Dropout
from minitf.model.feedforward import ACTIVATIONS, projections


def attend(
    attention: nn.Module,
    query: Float[Tensor, "N T E"],
    memory: Float[Tensor, "N S E"],
    **options: Any,
) -> Float[Tensor, "N T E"]:
    """The output of an attention that may be anybody's.

    Raises:
        OutputError: it returned something else than torch's module does.
    """
    found = attention(query, memory, memory, need_weights=False, **options)
    if not torch.compiler.is_compiling() and not _is_output(found, query):
        received = f"a {type(found).__name__}"
        if isinstance(found, Tensor):
            received += f" of shape {tuple(found.shape)}"
        elif isinstance(found, tuple | list):
            received += f" ({', '.join(map(_in_short, found))})"
        raise OutputError(
            f"{type(attention).__name__}.forward must return (output, weights or None), with an "
            f"output of the query's shape {tuple(query.shape)}; received {received}"
        )
    output: Tensor = found[0]
    return output


def _in_short(x: object) -> str:
    if isinstance(x, Tensor):
        return str(tuple(x.shape))
    return "None" if x is None else f"a {type(x).__name__}"


def _is_output(found: object, query: Tensor) -> bool:
    if not isinstance(found, tuple | list) or len(found) != 2 or not isinstance(found[0], Tensor):
        return False
    return found[0].shape == query.shape


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each in a residual (Vaswani et al. 2017, section 3.1).

    Args:
        embed_dim: E.
        feedforward_dim: F, the feed-forward network's inner width.
        self_attention: the attention module, batch first.
        activation: "relu", "gelu" or "swiglu".
        pre_norm: normalise a sub-layer's input (Xiong et al. 2020) instead of the residual's sum.
        dropout: on each sub-layer's output.
        activation_dropout: after the activation.
    """

    def __init__(
        self,
        embed_dim: int,
        feedforward_dim: int,
        self_attention: nn.Module,
        *,
        activation: str,
        pre_norm: bool,
        dropout: float,
        activation_dropout: float,
    ) -> None:
        super().__init__()
        self.self_attn = self_attention
        self.linear1, self.linear2 = projections(embed_dim, feedforward_dim, activation)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.dropout = Dropout(activation_dropout)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = ACTIVATIONS[activation]
        self.pre_norm = pre_norm

    def forward(
        self, x: Float[Tensor, "B S E"], padding_mask: Bool[Tensor, "B S"]
    ) -> Float[Tensor, "B S E"]:
        """One layer; `padding_mask` is True at padding."""
        if self.pre_norm:
            x = x + self._self_attention(self.norm1(x), padding_mask)
            return x + self._feedforward(self.norm2(x))
        x = self.norm1(x + self._self_attention(x, padding_mask))
        x = self.norm2(x + self._feedforward(x))
        return x

    def _self_attention(self, x: Tensor, padding_mask: Tensor) -> Tensor:
        x = attend(self.self_attn, x, x, key_padding_mask=padding_mask)
        x = self.dropout1(x)
        return x

    def _feedforward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.activation(apply_linear(self.linear1, x)))
        x = self.dropout2(apply_linear(self.linear2, x))
        return x


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention and feed-forward, each in a residual.

    Args:
        embed_dim: E.
        feedforward_dim: F, the feed-forward network's inner width.
        self_attention: the attention over the target, batch first.
        cross_attention: the attention over the encoder's output, batch first.
        activation: "relu", "gelu" or "swiglu".
        pre_norm: normalise a sub-layer's input (Xiong et al. 2020) instead of the residual's sum.
        dropout: on each sub-layer's output.
        activation_dropout: after the activation.
    """

    def __init__(
        self,
        embed_dim: int,
        feedforward_dim: int,
        self_attention: nn.Module,
        cross_attention: nn.Module,
        *,
        activation: str,
        pre_norm: bool,
        dropout: float,
        activation_dropout: float,
    ) -> None:
        super().__init__()
        self.self_attn = self_attention
        self.multihead_attn = cross_attention
        self.linear1, self.linear2 = projections(embed_dim, feedforward_dim, activation)
        self.norm1 = nn.LayerNorm(embed_dim)
        self.norm2 = nn.LayerNorm(embed_dim)
        self.norm3 = nn.LayerNorm(embed_dim)
        self.dropout = Dropout(activation_dropout)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation: Callable[[Tensor], Tensor] = ACTIVATIONS[activation]
        self.pre_norm = pre_norm

    def forward(
        self,
        x: Float[Tensor, "N T E"],
        memory: Float[Tensor, "B S E"],
        causal_mask: Bool[Tensor, "T all"] | None,
        memory_padding_mask: Bool[Tensor, "B S"],
        caches: tuple[KeyValueCache, KeyValueCache] | None = None,
    ) -> Float[Tensor, "N T E"]:
        """One layer over whole prefixes, or, with caches, over their newest tokens.

        Args:
            x: the target's vectors; N is a multiple of B, a sentence's rows stand together.
            memory: the encoder's output.
            causal_mask: True at what follows, over what is cached and the target; None for an
                attention that needs none.
            memory_padding_mask: True at the source's padding.
            caches: this layer's self-attention and cross-attention caches.
        """
        self_cache, cross_cache = caches if caches is not None else (None, None)
        if self.pre_norm:
            x = x + self._self_attention(self.norm1(x), causal_mask, self_cache)
            x = x + self._cross_attention(self.norm2(x), memory, memory_padding_mask, cross_cache)
            return x + self._feedforward(self.norm3(x))
        x = self.norm1(x + self._self_attention(x, causal_mask, self_cache))
        x = self.norm2(x + self._cross_attention(x, memory, memory_padding_mask, cross_cache))
        x = self.norm3(x + self._feedforward(x))
        return x

    def _self_attention(
        self, x: Tensor, causal_mask: Tensor | None, cache: KeyValueCache | None
    ) -> Tensor:
        # torch's module takes no cache, so the argument is left out where there is none.
        cached = {} if cache is None else {"cache": cache}
        x = attend(self.self_attn, x, x, attn_mask=causal_mask, is_causal=True, **cached)
        x = self.dropout1(x)
        return x

    def _cross_attention(
        self, x: Tensor, memory: Tensor, padding_mask: Tensor, cache: KeyValueCache | None
    ) -> Tensor:
        cached = {} if cache is None else {"cache": cache}
        rows, length, embed_dim = x.shape
        # Nothing orders the queries of a cross-attention, so a sentence's beams can stand one after
        # the other as one longer target: its keys and values then exist once, not once per beam.
        beams = rows // max(1, memory.size(0))
        if beams > 1:
            x = x.reshape(rows // beams, beams * length, embed_dim)
        x = attend(self.multihead_attn, x, memory, key_padding_mask=padding_mask, **cached)
        if beams > 1:
            x = x.reshape(rows, length, embed_dim)
        x = self.dropout2(x)
        return x

    def _feedforward(self, x: Tensor) -> Tensor:
        x = self.dropout(self.activation(apply_linear(self.linear1, x)))
        x = self.dropout3(apply_linear(self.linear2, x))
        return x
