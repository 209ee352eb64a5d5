"""What every trainer under measurement is given: one model, one loss, one sequence of batches."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class TrainingTask:
    """Sizes and settings that all implementations share; plain values, so that it travels as JSON.

    Dropout is on the embeddings and on every sub-layer's output, and nowhere else.
    """

    vocab_size: int
    pad_id: int
    bos_id: int
    eos_id: int
    embed_dim: int
    num_heads: int
    num_encoder_layers: int
    num_decoder_layers: int
    feedforward_dim: int
    pre_norm: bool
    dropout: float
    label_smoothing: float
    clip: float
    """Gradients' largest norm."""
    batches: str
    """A file of `minitf.bench.training.store_batches`."""
    steps: int
    """Updates in a round."""
    longest: int
    """Positions that a table of positions needs."""
    device: str = "cpu"
    precision: str = "float32"
    """float32, or bfloat16: under autocast."""
    compile: bool = False
    graphs: bool = False
    """Record CUDA graphs, one for each shape."""

    lr: float = 1e-4
    """Without warm-up, so that nothing diverges; it has no influence on the speed."""

    @property
    def compile_mode(self) -> str | None:
        """torch.compile's own way to record graphs, for everybody else."""
        return "reduce-overhead" if self.graphs else None

    def autocast(self) -> torch.autocast:
        """bfloat16 where the precision says so."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bfloat16")


@dataclass(frozen=True)
class TokenBatch:
    """One batch as token numbers."""

    src: Tensor
    """(B, S): tokens, EOS, padding."""
    tgt: Tensor
    """(B, T + 1): BOS, tokens, EOS, padding."""
    tokens: int
    """Target tokens that count: EOS counted, BOS and padding not."""


Loss = Callable[[TokenBatch], Tensor]
"""The mean label-smoothed cross-entropy per target token of a batch."""

Build = Callable[[TrainingTask], tuple[nn.Module, Loss]]
"""What each library's file offers."""


def cross_entropy(logits: Tensor, batch: TokenBatch, task: TrainingTask) -> Tensor:
    """Torch's own loss, for the libraries that leave it to the user.

    Args:
        logits: (B, T, V).
        batch: whose targets they predict.
        task: its label smoothing and padding token.
    """
    return nn.functional.cross_entropy(
        logits.flatten(0, 1),
        batch.tgt[:, 1:].flatten(),
        ignore_index=task.pad_id,
        label_smoothing=task.label_smoothing,
    )


class BareLoop:
    """A training loop and nothing else, as torch's documentation says it is fast.

    Gradients are set to None, their norm is taken in one go, the update is one fused kernel, and
    nothing is read from the device.
    """

    def __init__(self, model: nn.Module, loss: Loss, task: TrainingTask) -> None:
        self._model, self._task = model.train(), task
        self._loss = loss
        if task.compile:
            self._loss = torch.compile(loss, dynamic=True, mode=task.compile_mode)
        self._optimizer = torch.optim.Adam(
            model.parameters(), lr=task.lr, betas=(0.9, 0.98), eps=1e-9, fused=True
        )

    def update(self, batch: TokenBatch) -> None:
        """One step."""
        self.backward(batch)
        nn.utils.clip_grad_norm_(self._model.parameters(), self._task.clip, foreach=True)
        self._optimizer.step()

    def backward(self, batch: TokenBatch) -> None:
        """The gradients of a batch."""
        self._optimizer.zero_grad(set_to_none=True)
        with self._task.autocast():
            loss = self._loss(batch)
        torch.autograd.backward(loss)


def load_batches(task: TrainingTask) -> list[list[TokenBatch]]:
    """The batches of each round, on the device; the same for everybody."""
    stored = [
        TokenBatch(batch["src"].to(task.device), batch["tgt"].to(task.device), batch["tokens"])
        for batch in torch.load(task.batches, weights_only=True)
    ]
    return [stored[first : first + task.steps] for first in range(0, len(stored), task.steps)]


def longest_of(batches: list[list[TokenBatch]]) -> int:
    """Positions of the longest sentence."""
    return max(max(b.src.size(1), b.tgt.size(1) - 1) for group in batches for b in group)


def synchronize(task: TrainingTask) -> None:
    """Wait for the device, so that a clock means something."""
    if task.device == "cuda":
        torch.cuda.synchronize()


def num_parameters(model: nn.Module) -> int:
    """Weights that are trained, tied ones counted once."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
