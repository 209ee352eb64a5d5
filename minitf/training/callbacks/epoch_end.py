"""A run that was saved at an epoch's end goes on with the next epoch."""

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loops.loop import _Loop


class EpochEnd(Callback):
    """Tells Lightning that the epoch at whose end a checkpoint was written is over.

    With `max_steps` it takes every checkpoint for one from the middle of an epoch: one more batch
    would be trained in the old epoch's name, and the rest of the new epoch's order left out.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epoch, once Lightning has found out where it stands."""
        loop = trainer.fit_loop
        if loop.restarted_on_epoch_end:
            loop.epoch_progress.increment_completed()
            loop.reset_restart_stage()
            loop.epoch_loop.reset_restart_stage()
            _Loop.restarting.fset(loop, False)  # type: ignore[attr-defined]  # a property
