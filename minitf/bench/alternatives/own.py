"""minitf's own model."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from torch import Tensor, nn

from minitf.attention import MultiHeadAttention
from minitf.bench.task import BareLoop, Loss, TokenBatch, TrainingTask
from minitf.model import Transformer
from minitf.model.loss import LossSums, linear_cross_entropy

if TYPE_CHECKING:
    from minitf.training.cuda_graphs import GraphedGradients


def fast(task: TrainingTask) -> tuple[nn.Module, Loss]:
    """With `attention.kernel=fast`, which is equal to torch's module within rounding."""
    return build(task, "fast")


def build(task: TrainingTask, kernel: str = "auto") -> tuple[nn.Module, Loss]:
    """The model, and the loss that never holds the logits, as training uses them."""
    model = Transformer(
        task.vocab_size,
        embed_dim=task.embed_dim,
        num_heads=task.num_heads,
        num_encoder_layers=task.num_encoder_layers,
        num_decoder_layers=task.num_decoder_layers,
        feedforward_dim=task.feedforward_dim,
        norm="pre" if task.pre_norm else "post",
        dropout=task.dropout,
        pad_id=task.pad_id,
        attention=partial(MultiHeadAttention, kernel=kernel),
    )

    def loss(batch: TokenBatch) -> Tensor:
        return sums_of(model, batch.src, batch.tgt, task).loss / batch.tokens

    return model, loss


def sums_of(model: Transformer, src: Tensor, tgt: Tensor, task: TrainingTask) -> LossSums:
    """The loss of a batch, as training computes it."""
    return linear_cross_entropy(
        model.hidden(src, tgt[:, :-1]),
        model.output_projection.weight,
        tgt[:, 1:],
        label_smoothing=task.label_smoothing,
        pad_id=task.pad_id,
    )


class Loop(BareLoop):
    """The bare loop, compiled and recorded as training does both: layers, and whole passes."""

    def __init__(self, model: nn.Module, loss: Loss, task: TrainingTask) -> None:
        super().__init__(model, loss, replace(task, compile=False))
        assert isinstance(model, Transformer)
        if task.compile:
            model.compile_layers()
        self._graphs = _recorded(model, task) if task.graphs else None

    def backward(self, batch: TokenBatch) -> None:
        """The gradients of a batch."""
        if self._graphs is None:
            super().backward(batch)
            return
        self._graphs.zero()
        with self._task.autocast():
            self._graphs.add(batch.src, batch.tgt, 1 / batch.tokens)


def _recorded(model: Transformer, task: TrainingTask) -> "GraphedGradients":
    # Its package brings libraries along whose memory should not count elsewhere.
    from minitf.training.cuda_graphs import GraphedGradients

    return GraphedGradients(partial(sums_of, model, task=task), model.parameters())
