"""The encoder-decoder Transformer (Vaswani et al. 2017, "Attention Is All You Need").

Shapes: B sentences, S source length, N target rows, T target length, E embed_dim, V vocabulary,
H heads. Masks are torch's: True means "do not attend".
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minitf.attention import MultiHeadAttention
from minitf.attention.contract import needs_causal_mask, takes_cache
from minitf.attention.masks import causal_mask as make_causal_mask
from minitf.model.attention_maps import attention_maps
from minitf.model.checks import (
    check_attention,
    check_attention_in,
    check_choice,
    check_heads,
    check_heeds_rotary_base,
    check_pad_id,
    check_probabilities,
    check_sizes,
    check_takes_rotary_base,
)
from minitf.model.dropout import Dropout
from minitf.model.embeddings import LearnedPositions, ScaledEmbedding, SinusoidalPositions
from minitf.model.feedforward import ACTIVATIONS
from minitf.model.initialization import initialize
from minitf.model.layers import DecoderLayer, EncoderLayer
from minitf.model.state import DecoderState

ATTENTION_ROLES = ("encoder", "decoder", "cross")
"""The encoder's and the decoder's self-attention, and the decoder's over the encoder's output."""

MOST_VARIANTS = 256
"""Kinds of layer, times the sizes that torch compiles for themselves (1), times models."""

ROTARY_BASE = 10_000.0
"""Su et al. 2021, "RoFormer", section 3.3.3."""


class Transformer(nn.Module):
    """Encoder, decoder, embeddings and output projection.

    Args:
        vocab_size: V, shared by source and target.
        embed_dim: E.
        num_heads: H, of every attention.
        num_encoder_layers: encoder layers.
        num_decoder_layers: decoder layers.
        feedforward_dim: the feed-forward networks' inner width.
        norm: "pre" normalises each sub-layer's input, and the last layer's output; "post" each
            residual's sum, as in the paper.
        positions: "sinusoidal" or "learned" are added to the embeddings; "rotary" turns queries and
            keys of the self-attentions.
        activation: "relu", "gelu" or "swiglu" (which has half as many weights again).
        tied_embeddings: "three_way": one matrix is source embedding, target embedding and output
            projection; "two_way": target embedding and output projection share one; "untied".
        dropout: on the embeddings and on every sub-layer's output.
        attention_dropout: on the attention weights.
        activation_dropout: after the feed-forward network's activation.
        max_length: positions that "learned" has vectors for; the other kinds have no limit.
        pad_id: the padding token's id.
        attention: builds an attention, as `attention(embed_dim, num_heads, dropout=…,
            batch_first=True)`; self-attentions also get `rotary_base=…` with positions="rotary".
        attention_in: where it does so, some of ATTENTION_ROLES; elsewhere `MultiHeadAttention`
            attends.

    Raises:
        ValueError: for sizes, probabilities or names out of range, and for rotary positions with
            a self-attention that does not take `rotary_base`.
    """

    def __init__(
        self,
        vocab_size: int,
        *,
        embed_dim: int = 128,
        num_heads: int = 4,
        num_encoder_layers: int = 2,
        num_decoder_layers: int = 2,
        feedforward_dim: int = 512,
        norm: str = "pre",
        positions: str = "sinusoidal",
        activation: str = "relu",
        tied_embeddings: str = "three_way",
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        max_length: int = 512,
        pad_id: int = 0,
        attention: Callable[..., nn.Module] = MultiHeadAttention,
        attention_in: Sequence[str] = ATTENTION_ROLES,
    ) -> None:
        super().__init__()
        check_sizes(
            vocab_size=vocab_size,
            embed_dim=embed_dim,
            num_heads=num_heads,
            num_encoder_layers=num_encoder_layers,
            num_decoder_layers=num_decoder_layers,
            feedforward_dim=feedforward_dim,
            max_length=max_length,
        )
        check_heads(embed_dim, num_heads)
        check_probabilities(
            dropout=dropout,
            attention_dropout=attention_dropout,
            activation_dropout=activation_dropout,
        )
        check_choice("norm", norm, ("pre", "post"))
        check_choice("positions", positions, ("sinusoidal", "learned", "rotary"))
        check_choice("activation", activation, tuple(ACTIVATIONS))
        check_choice("tied_embeddings", tied_embeddings, ("three_way", "two_way", "untied"))
        check_pad_id(pad_id, vocab_size)
        check_attention(attention)
        check_attention_in(attention_in, ATTENTION_ROLES)

        def new_attention(role: str) -> nn.Module:
            build = attention if role in attention_in else MultiHeadAttention
            options: dict[str, Any] = {"dropout": attention_dropout, "batch_first": True}
            if positions == "rotary" and role != "cross":
                check_takes_rotary_base(build)
                module = build(embed_dim, num_heads, **options, rotary_base=ROTARY_BASE)
                check_heeds_rotary_base(module)
                return module
            return build(embed_dim, num_heads, **options)

        layer_options: dict[str, Any] = {
            "activation": activation,
            "pre_norm": norm == "pre",
            "dropout": dropout,
            "activation_dropout": activation_dropout,
        }
        sizes = (embed_dim, feedforward_dim)

        self.vocab_size = vocab_size
        self.embed_dim = embed_dim
        self.pad_id = pad_id
        self.src_embedding = ScaledEmbedding(vocab_size, embed_dim, padding_idx=pad_id)
        self.tgt_embedding = (
            self.src_embedding
            if tied_embeddings == "three_way"
            else ScaledEmbedding(vocab_size, embed_dim, padding_idx=pad_id)
        )
        self.src_positions = _positions(positions, embed_dim, max_length)
        self.tgt_positions = _positions(positions, embed_dim, max_length)
        self.dropout = Dropout(dropout)
        self.encoder = _Stack(
            [
                EncoderLayer(*sizes, new_attention("encoder"), **layer_options)
                for _ in range(num_encoder_layers)
            ],
            final_norm=nn.LayerNorm(embed_dim) if norm == "pre" else None,
        )
        self.decoder = _Stack(
            [
                DecoderLayer(
                    *sizes, new_attention("decoder"), new_attention("cross"), **layer_options
                )
                for _ in range(num_decoder_layers)
            ],
            final_norm=nn.LayerNorm(embed_dim) if norm == "pre" else None,
        )
        self.output_projection = nn.Linear(embed_dim, vocab_size, bias=False)
        if tied_embeddings != "untied":
            self.output_projection.weight = self.tgt_embedding.weight
        self._compiled = _call
        # torch's module wants the mask beside is_causal=True, and so may others; ours does not.
        self._needs_causal_mask = any(
            needs_causal_mask(type(layer.self_attn)) for layer in self.decoder.layers
        )
        initialize(self)

    def forward(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits of the token that follows each target position.

        Args:
            src: source tokens, EOS last, padded on the right.
            tgt: target tokens, BOS first, padded on the right.
        """
        return self.project(self.hidden(src, tgt))

    def hidden(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        """What `project` turns into logits; for losses that never hold the logits whole."""
        return self.decode(tgt, self.encode(src), self.src_padding_mask(src))

    def compile_layers(self) -> None:
        """Compile the layers for training, as torch's guide to regional compilation says.

        All encoder layers are one graph and all decoder layers another, whatever the shapes, which
        takes a fraction of the time that the whole would. Evaluation is not compiled.
        """
        # Torch counts a function's variants over all models that this process compiles, as in a
        # sweep, and beyond eight compiles no more.
        limit = torch._dynamo.config.recompile_limit
        torch._dynamo.config.recompile_limit = max(limit, MOST_VARIANTS)
        self._compiled = torch.compile(_call, dynamic=True)

    def src_padding_mask(self, src: Int[Tensor, "B S"]) -> Bool[Tensor, "B S"]:
        """True at padding."""
        return src == self.pad_id

    def encode(self, src: Int[Tensor, "B S"]) -> Float[Tensor, "B S E"]:
        """The encoder's output; what stands at padding has no meaning."""
        x = self._embed(src, self.src_embedding, self.src_positions, start=0)
        padding_mask = self.src_padding_mask(src)
        run = self._compiled if self.training else _call
        for layer in self.encoder.layers:
            x = run(layer, x, padding_mask)
        return self.encoder.final(x)

    def decode(
        self,
        tgt: Int[Tensor, "N T"],
        memory: Float[Tensor, "B S E"],
        src_padding_mask: Bool[Tensor, "B S"],
        state: DecoderState | None = None,
    ) -> Float[Tensor, "N T E"]:
        """The decoder's output for target rows that may be several to a sentence.

        The target needs no padding mask: padding stands on the right, so the causal mask already
        keeps it from every real position, and what is computed at padding itself is never used.

        Args:
            tgt: N rows, a multiple of B; rows i·N/B … belong to sentence i. With a state only the
                tokens that it has not seen.
            memory: what `encode` gave.
            src_padding_mask: True at the source's padding.
            state: what `new_state` gave, one for each search; it is extended by `tgt`.
        """
        start = 0 if state is None else state.length
        x = self._embed(tgt, self.tgt_embedding, self.tgt_positions, start)
        causal_mask = None
        if self._needs_causal_mask and (start == 0 or tgt.size(1) > 1):
            T = tgt.size(1)
            causal_mask = make_causal_mask(T, start + T, tgt.device, start)
        run = self._compiled if self.training else _call
        for index, layer in enumerate(self.decoder.layers):
            caches = None if state is None else state.layer(index)
            x = run(layer, x, memory, causal_mask, src_padding_mask, caches)
        return self.decoder.final(x)

    def project(self, hidden: Float[Tensor, "*rows E"]) -> Float[Tensor, "*rows V"]:
        """Logits over the vocabulary."""
        logits: Tensor = self.output_projection(hidden)
        return logits

    def new_state(self) -> DecoderState | None:
        """An empty cache for `decode`, or None where an attention class has no `supports_cache`.

        Without a state, `decode` takes the whole prefix each time and gives the same.
        """
        attentions = [layer.self_attn for layer in self.decoder.layers]
        attentions += [layer.multihead_attn for layer in self.decoder.layers]
        if not all(takes_cache(module) for module in attentions):
            return None
        return DecoderState(len(self.decoder.layers))

    @property
    def max_positions(self) -> int | None:
        """The longest input that the model has positions for; None: no limit."""
        return getattr(self.tgt_positions, "max_length", None)

    @torch.no_grad()
    def attention_maps(self, src: Int[Tensor, "B S"], tgt: Int[Tensor, "B T"]) -> dict[str, Tensor]:
        """Attention weights per layer and head, for looking at.

        Returns:
            "encoder" (L, B, H, S, S), "decoder" (L, B, H, T, T) and "cross" (L, B, H, T, S). Of
            minitf's and torch's attention each row sums to one, or to less where a learned key or
            one of zeros got the rest.

        Raises:
            ValueError: an attention gives no weights.
        """
        return attention_maps(self, src, tgt)

    def _embed(
        self, tokens: Tensor, embedding: nn.Module, positions: nn.Module | None, start: int
    ) -> Tensor:
        x: Tensor = embedding(tokens)
        if positions is not None:
            x = x + positions(start, tokens.size(1))
        x = self.dropout(x)
        return x


def _call(layer: nn.Module, *args: Any) -> Tensor:
    output: Tensor = layer(*args)
    return output


class _Stack(nn.Module):
    """Layers and what normalises the last one's output, named as in torch's own stacks."""

    def __init__(self, layers: list[nn.Module], final_norm: nn.LayerNorm | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = final_norm

    def final(self, x: Tensor) -> Tensor:
        if self.norm is not None:
            x = self.norm(x)
        return x


def _positions(kind: str, embed_dim: int, max_length: int) -> nn.Module | None:
    if kind == "sinusoidal":
        return SinusoidalPositions(embed_dim)
    if kind == "learned":
        return LearnedPositions(embed_dim, max_length)
    return None
