"""The exponential moving average of the weights, on the device that trains them."""

from lightning.pytorch import LightningModule, Trainer, callbacks


class EMAWeightAveraging(callbacks.EMAWeightAveraging):
    """Lightning's own, whose average stays where the model is when it is set up.

    That is before Lightning moves the model to its device: the average would be kept on the CPU,
    and every weight copied to it at every update.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Move the model first, which Lightning does a moment later."""
        pl_module.to(trainer.strategy.root_device)
        super().setup(trainer, pl_module, stage)
