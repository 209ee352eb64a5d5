"""`last.ckpt`, which a run goes on from."""

import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from minitf.training.callbacks.due import epoch_ends, run_ends, something_is_due


class Autosave(Checkpoint):
    """Saves after each validation, after the last update, and by the clock in between.

    Never within an accumulation, which cannot be resumed. Where the epoch ends with a validation it
    waits for that end too, which a run that goes on would otherwise leave out. By the clock, so
    that a killed run loses no more than some minutes; not with several processes, whose clocks
    would have to agree.

    A Checkpoint for the order alone: Lightning calls those after all others, and this one, given
    after those that save the best and the last epochs, saves their state too.

    Args:
        save: writes the checkpoint.
        seconds: from one to the next.
    """

    def __init__(self, save: Callable[[], None], seconds: float = 300.0) -> None:
        self._save = save
        self._seconds = seconds
        self._saved = 0.0
        self._updates = 0
        self._validated = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._saved = time.monotonic()
        self._updates = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save after a whole update if it is time, or if it is the last and nothing follows."""
        whole = trainer.global_step > self._updates
        self._updates = trainer.global_step
        if not whole or something_is_due(trainer):
            return
        late = trainer.world_size == 1 and time.monotonic() - self._saved >= self._seconds
        if late or run_ends(trainer):
            self._save_now()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, unless the epoch ends too or gradients wait for more."""
        if trainer.state.fn != "fit" or trainer.sanity_checking or pl_module.mid_update:
            return
        if epoch_ends(trainer):
            self._validated = True
        else:
            self._save_now()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save after an epoch that ended with a validation, and after the last."""
        if epoch_ends(trainer) and (self._validated or run_ends(trainer)):
            self._save_now()
        self._validated = False

    def _save_now(self) -> None:
        self._save()
        self._saved = time.monotonic()
