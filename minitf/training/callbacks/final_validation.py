"""The last update is validated, wherever the validation interval ends."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from minitf.training.callbacks.due import limit_is_reached, run_ends


class FinalValidation(Checkpoint):
    """Asks for a validation after the last update, so that its weights can become `best.ckpt`.

    Lightning validates after a batch at which the training was told to stop, if it validates in
    this epoch at all. What tells it to stop within an accumulation (a timer, early stopping after a
    validation there) is held back until the update is whole: half of it could not be resumed.

    A Checkpoint for the order alone: Lightning calls those after all others, which may tell the
    training to stop.
    """

    def __init__(self) -> None:
        self._held_back = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the training to stop where it would do so by itself, or was told to."""
        if pl_module.mid_update:
            self._hold_back(trainer)
            return
        if self._held_back or limit_is_reached(trainer):
            trainer.should_stop = True
            self._held_back = False
        if run_ends(trainer) and trainer.check_val_every_n_epoch is not None:
            trainer.check_val_every_n_epoch = 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on to the end of the update."""
        if trainer.state.fn == "fit" and pl_module.mid_update:
            self._hold_back(trainer)

    def _hold_back(self, trainer: Trainer) -> None:
        self._held_back = self._held_back or trainer.should_stop
        trainer.should_stop = False
