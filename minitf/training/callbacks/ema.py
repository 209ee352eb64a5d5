"""The exponential moving average of the weights, on the device that trains them."""

from lightning.pytorch import LightningModule, Trainer, callbacks


class EMAWeightAveraging(callbacks.EMAWeightAveraging):
    """Lightning's own, with three differences.

    The average stays where the model is when it is set up: Lightning moves the model to its device
    only later, so that every weight would be copied to the CPU at every update. A validation has
    the average to its very end, for a module's `on_validation_epoch_end`, which translates, comes
    after the callbacks'. And the model keeps its own weights when training ends, for a checkpoint
    that is written then has both; what is tested comes out of a checkpoint.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Move the model first, which Lightning does a moment later."""
        pl_module.to(trainer.strategy.root_device)
        super().setup(trainer, pl_module, stage)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the average in the model."""

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the model's own weights back, before checkpoints are written."""
        super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the model's own weights in it."""
