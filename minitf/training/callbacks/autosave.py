"""`last.ckpt` every few minutes, so that a killed run loses no more than that."""

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from minitf.training.callbacks.due import something_is_due


class Autosave(Callback):
    """Saves after whole updates, by the clock.

    Validations save too; this is for long ways between them. Not with several processes, whose
    clocks would have to agree.

    Args:
        save: writes the checkpoint.
        seconds: from one to the next.
    """

    def __init__(self, save: Callable[[], None], seconds: float = 300.0) -> None:
        self._save = save
        self._seconds = seconds
        self._saved = 0.0
        self._updates = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._saved = time.monotonic()
        self._updates = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save if it is time: never within an accumulation, which cannot be resumed."""
        whole = trainer.global_step > self._updates
        self._updates = trainer.global_step
        if not whole or trainer.world_size > 1:
            return
        if time.monotonic() - self._saved >= self._seconds and not something_is_due(trainer):
            self._save()
            self._saved = time.monotonic()
