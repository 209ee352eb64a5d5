"""Ctrl-C and SIGTERM end a run between two updates, with a checkpoint that resumes exactly."""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from minitf.training.callbacks.due import epoch_ends, run_ends, something_is_due

ASK_EVERY = 10
"""Updates between two questions to the other processes of a data-parallel run."""

SAME_KEY_PRESS = 1.0
"""Seconds within which a signal may come twice: from the terminal, and from a parent process."""


class Interrupted(Exception):  # noqa: N818 - an outcome, not an error
    """A signal ended the training after its checkpoint was saved."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


class AtOnce(BaseException):
    """A second Ctrl-C: Lightning would answer a KeyboardInterrupt with an exit code of its own."""


class Interruption(Checkpoint):
    """Stops at the end of the update during which a signal came.

    Lightning ends a KeyboardInterrupt wherever the program stands; the batch that was half done
    would be lost on resume. Here the update is finished, with the validation and the epoch's end
    that are due after it, `save` is called, and `Interrupted` ends the run. A second Ctrl-C, later,
    ends it at once. After `Interrupted` signals are still heard here, so that one which comes twice
    does not cut off what is left to say.

    A Checkpoint for the order alone: Lightning calls those after all others, and this one, given
    last, after those that save the best and the last epochs.

    Args:
        save: writes the checkpoint.
    """

    def __init__(self, save: Callable[[], None]) -> None:
        self._save = save
        self._signal: int | None = None
        self._received = 0.0
        self._previous: dict[int, Any] = {}
        self._updates = 0
        self._asked = 0

    @property
    def by_ctrl_c(self) -> bool:
        """Whether Ctrl-C came, which a terminal sends to every process that was started here."""
        return self._signal == signal.SIGINT

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals over from Lightning, which set its handlers before."""
        self._updates = self._asked = trainer.global_step
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._previous[signum] = signal.signal(signum, self._receive)

    def _receive(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._signal is None:
            self._signal, self._received = signum, now
        elif signum == signal.SIGINT and now - self._received > SAME_KEY_PRESS:
            self._restore()
            raise AtOnce

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after a whole update: half an accumulation window cannot be resumed."""
        whole = trainer.global_step > self._updates
        self._updates = trainer.global_step
        if whole and not something_is_due(trainer):
            if trainer.world_size > 1 and trainer.global_step - self._asked < ASK_EVERY:
                return
            self._stop_if_asked_to(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after a validation, unless the epoch or the run ends too."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or pl_module.mid_update:
            return
        if not (run_ends(trainer) or epoch_ends(trainer)):
            self._stop_if_asked_to(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop after an epoch, unless it is the last."""
        if not run_ends(trainer):
            self._stop_if_asked_to(trainer)

    def _stop_if_asked_to(self, trainer: Trainer) -> None:
        self._asked = trainer.global_step
        if self._is_asked_to(trainer):
            self._save()
            raise Interrupted(self._signal or signal.SIGTERM)

    def _is_asked_to(self, trainer: Trainer) -> bool:
        """Several processes must stop after the same update."""
        asked = trainer.strategy.reduce_boolean_decision(self._signal is not None, all=False)
        return bool(asked)

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
        """Stop where a signal came after the last update, which is saved; give the signals back."""
        if self._is_asked_to(trainer):
            raise Interrupted(self._signal or signal.SIGTERM)
        self._restore()
