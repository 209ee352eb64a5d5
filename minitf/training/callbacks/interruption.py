"""Ctrl-C and SIGTERM end a run between two updates, with a checkpoint that resumes exactly."""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

ASK_EVERY = 10
"""Updates between two questions to the other processes of a data-parallel run."""

SAME_KEY_PRESS = 1.0
"""Seconds within which a signal may come twice: from the terminal, and from a parent process."""


class Interrupted(Exception):  # noqa: N818 - an outcome, not an error
    """A signal ended the training after its checkpoint was saved."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


class Interruption(Callback):
    """Stops at the end of the update during which a signal came.

    Lightning ends a KeyboardInterrupt wherever the program stands; the batch that was half done
    would be lost on resume. Here the update is finished, `save` is called, and `Interrupted` ends
    the run. A second Ctrl-C, later, ends it at once. After `Interrupted` signals are still heard
    here, so that one which comes twice does not cut off what is left to say.

    Args:
        save: writes the checkpoint.
    """

    def __init__(self, save: Callable[[], None]) -> None:
        self._save = save
        self._signal: int | None = None
        self._received = 0.0
        self._previous: dict[int, Any] = {}
        self._updates = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, which set its handlers before."""
        self._updates = trainer.global_step
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._previous[signum] = signal.signal(signum, self._receive)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signal is None:
            self._signal, self._received = signum, now
        elif signum == signal.SIGINT and now - self._received > SAME_KEY_PRESS:
            self._restore()
            raise KeyboardInterrupt

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after a whole update: half an accumulation window cannot be resumed."""
        whole = trainer.global_step > self._updates
        self._updates = trainer.global_step
        if whole and self._agreed(trainer):
            self._save()
            raise Interrupted(self._signal or signal.SIGTERM)

    def _agreed(self, trainer: Trainer) -> bool:
        """Whether to stop now; several processes must do so after the same update."""
        received = self._signal is not None
        if trainer.world_size == 1:
            return received
        if trainer.global_step % ASK_EVERY:
            return False
        return bool(trainer.strategy.reduce_boolean_decision(received, all=False))

    def _restore(self) -> None:
        for signum, handler in self._previous.items():
            signal.signal(signum, handler)
        self._previous.clear()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back."""
        if not isinstance(exception, Interrupted):
            self._restore()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop where a signal came after the last update; else give the signals back."""
        received = self._signal is not None
        if trainer.strategy.reduce_boolean_decision(received, all=False):
            self._save()
            raise Interrupted(self._signal or signal.SIGTERM)
        self._restore()
