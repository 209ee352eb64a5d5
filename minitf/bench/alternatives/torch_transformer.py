"""torch.nn.Transformer, with what it leaves to the user: embeddings, positions, projection."""

import math

import torch
from torch import Tensor, nn

from minitf.bench.task import Loss, TokenBatch, TrainingTask, cross_entropy


class TorchTransformer(nn.Module):
    """Three-way tied, sinusoidal positions, as in torch's own translation tutorial."""

    _positions: Tensor
    _causal: Tensor

    def __init__(self, task: TrainingTask) -> None:
        super().__init__()
        E = task.embed_dim
        self._pad_id = task.pad_id
        self._scale = math.sqrt(E)
        self.embedding = nn.Embedding(task.vocab_size, E, padding_idx=task.pad_id)
        nn.init.normal_(self.embedding.weight, std=E**-0.5)
        self.dropout = nn.Dropout(task.dropout)
        self.transformer = nn.Transformer(
            E,
            task.num_heads,
            task.num_encoder_layers,
            task.num_decoder_layers,
            task.feedforward_dim,
            task.dropout,
            batch_first=True,
            norm_first=task.pre_norm,
        )
        _no_inner_dropout(self.transformer)
        self.register_buffer("_positions", sinusoids(task.longest, E), persistent=False)
        mask = nn.Transformer.generate_square_subsequent_mask(task.longest)
        self.register_buffer("_causal", mask, persistent=False)

    def forward(self, src: Tensor, tgt: Tensor) -> Tensor:
        """(B, T, V) logits."""
        T = tgt.size(1)
        padding = src == self._pad_id
        hidden = self.transformer(
            self._embed(src),
            self._embed(tgt),
            tgt_mask=self._causal[:T, :T],
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        return nn.functional.linear(hidden, self.embedding.weight)

    def _embed(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) * self._scale + self._positions[: tokens.size(1)]
        dropped: Tensor = self.dropout(x)
        return dropped


def build(task: TrainingTask) -> tuple[nn.Module, Loss]:
    """The model and torch's cross-entropy."""
    model = TorchTransformer(task)

    def loss(batch: TokenBatch) -> Tensor:
        return cross_entropy(model(batch.src, batch.tgt[:, :-1]), batch, task)

    return model, loss


def sinusoids(length: int, embed_dim: int) -> Tensor:
    """(length, E), Vaswani et al. 2017, section 3.5."""
    position = torch.arange(length).unsqueeze(1)
    rate = torch.exp(torch.arange(0, embed_dim, 2) * (-math.log(10_000.0) / embed_dim))
    table = torch.zeros(length, embed_dim)
    table[:, 0::2] = torch.sin(position * rate)
    table[:, 1::2] = torch.cos(position * rate)
    return table


def _no_inner_dropout(transformer: nn.Module) -> None:
    """None on attention weights and inside the feed-forward: it slows torch's attention down."""
    for module in transformer.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
        if isinstance(module, nn.TransformerEncoderLayer | nn.TransformerDecoderLayer):
            module.dropout = nn.Identity()  # type: ignore[assignment]
