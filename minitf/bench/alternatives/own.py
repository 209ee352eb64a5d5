"""minitf's own model."""

from functools import partial

from torch import Tensor, nn

from minitf.attention import MultiHeadAttention
from minitf.bench.task import Loss, TokenBatch, TrainingTask
from minitf.model import Transformer
from minitf.model.loss import linear_cross_entropy


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
        sums = linear_cross_entropy(
            model.hidden(batch.src, batch.tgt[:, :-1]),
            model.output_projection.weight,
            batch.tgt[:, 1:],
            label_smoothing=task.label_smoothing,
            pad_id=task.pad_id,
        )
        return sums.loss / batch.tokens

    return model, loss
