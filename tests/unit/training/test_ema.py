"""The average lies where the model will be trained, not where it was built."""

from types import SimpleNamespace

import torch
from lightning.pytorch import LightningModule

from minitf.training.callbacks import EMAWeightAveraging


def test_the_average_is_on_the_device_that_trains() -> None:
    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 5)

    module, device = Module(), torch.device("meta")
    callback = EMAWeightAveraging(decay=0.9)
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=device))
    callback.setup(trainer, module, "fit")
    averages = list(callback._average_model.parameters())
    assert [p.shape for p in averages] == [(5, 3), (5,)]
    assert {p.device for p in averages} == {device}
