"""The last update is validated, wherever the validation interval ends."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class FinalValidation(Callback):
    """Asks for a validation after the last update, so that its weights can become `best.ckpt`.

    Lightning validates after a batch at which the training was told to stop, if it validates in
    this epoch at all.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the training to stop where it would do so by itself."""
        if trainer.global_step >= trainer.estimated_stepping_batches:
            trainer.should_stop = True
            if trainer.check_val_every_n_epoch is not None:
                trainer.check_val_every_n_epoch = 1
