"""What a user sees while training runs: a bar in a terminal, plain lines elsewhere."""

import math
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

from minitf.training.callbacks.monitor import Monitor


class Progress(ProgressBar):
    """The whole run as one bar: updates, loss, tokens/s, time gone, time left.

    Args:
        monitor: where loss and speed are read.
        console: where the bar or the lines go.
        seconds_between_lines: how often a plain line is printed where there is no terminal.
    """

    def __init__(
        self, monitor: Monitor, console: Console, seconds_between_lines: float = 10.0
    ) -> None:
        super().__init__()
        self._monitor = monitor
        self._console = console
        self._interval = seconds_between_lines
        self._bar: RichProgress | None = None
        self._enabled = True
        self._started = self._printed = 0.0
        self._first = 0

    def enable(self) -> None:
        """Lightning's switch for rank 0."""
        self._enabled = True

    def disable(self) -> None:
        """Lightning's switch for the other ranks."""
        self._enabled = False

    @property
    def is_enabled(self) -> bool:
        """Whether anything is shown."""
        return self._enabled

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        self._started = self._printed = time.monotonic()
        self._first = trainer.global_step
        if not (self._enabled and self._console.is_terminal):
            return
        self._bar = RichProgress(
            TextColumn("training"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            refresh_per_second=4,
        )
        self._task = self._bar.add_task(
            "training", total=self._total(trainer), completed=trainer.global_step, figures=""
        )
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, or print a line if the last is old enough."""
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.global_step, figures=self._figures())
        elif self._enabled and time.monotonic() - self._printed >= self._interval:
            self._line(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A line with what validation found, above the bar."""
        if not self._enabled or trainer.sanity_checking or trainer.state.fn != "fit":
            return
        found = {
            name.removeprefix("val/"): float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val/")
        }
        shown = "  ".join(
            f"{name} {value:.3f}" if name == "loss" else f"{name} {value:.2f}"
            for name, value in found.items()
            if name in ("loss", "perplexity", "bleu", "chrf")
        )
        self._console.print(
            f"update {trainer.global_step:>6}  validation: {shown}", highlight=False
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        if self._bar is None and self._enabled:
            self._line(trainer)
        self._stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the terminal as it was."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _total(self, trainer: Trainer) -> int | None:
        total = trainer.estimated_stepping_batches
        return None if math.isinf(total) else int(total)

    def _figures(self) -> str:
        latest = self._monitor.latest
        if not latest:
            return ""
        return (
            f"loss {latest['train/loss']:.3f}  {latest['train/tokens_per_second']:,.0f} tokens/s "
        )

    def _line(self, trainer: Trainer) -> None:
        self._printed = time.monotonic()
        total = self._total(trainer)
        done = trainer.global_step
        left = ""
        if total and done > self._first:
            each = (self._printed - self._started) / (done - self._first)
            left = f"  {_clock((total - done) * each)} left"
        self._console.print(
            f"update {done:>6}{f'/{total}' if total else ''}  {self._figures()}{left}".rstrip(),
            highlight=False,
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    return f"{minutes}:{rest:02d}"
