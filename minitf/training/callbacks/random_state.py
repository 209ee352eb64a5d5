"""Random number generators, saved with every checkpoint: Lightning saves none."""

import random
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer


def random_state(device: torch.device) -> dict[str, Any]:
    """The state of every global generator and of the device's, as tensors and plain containers."""
    version, internal, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": [version, list(internal), gauss],
        "numpy": [kind, [int(k) for k in keys], int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "device": {"type": device.type, "state": _device_state(device)},
    }


def restore_random_state(state: dict[str, Any], device: torch.device) -> None:
    """Put every generator where `random_state` found it."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if (found := state["device"])["type"] == device.type == "cuda":
        torch.cuda.set_rng_state(found["state"].cpu(), device)
    elif found["type"] == device.type == "mps":
        torch.mps.set_rng_state(found["state"].cpu())


def _device_state(device: torch.device) -> torch.Tensor | None:
    """The state of the one device that trains: how many others there are has no say."""
    if device.type == "cuda":
        return torch.cuda.get_rng_state(device)
    return torch.mps.get_rng_state() if device.type == "mps" else None


class RandomState(Callback):
    """Makes a resumed run draw what the uninterrupted one would have drawn.

    Restoring waits for the start of training, because what Lightning does before it (a validation
    check, building loaders) draws too. Each data-parallel rank gets its own state back.
    """

    def __init__(self) -> None:
        self._restored: list[dict[str, Any]] | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the states of all ranks; Lightning calls this on every rank."""
        states = [random_state(pl_module.device)]
        if trainer.world_size > 1:
            gathered: list[Any] = [None] * trainer.world_size
            torch.distributed.all_gather_object(gathered, states[0])
            states = gathered
        checkpoint["random_state"] = states

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep the states for the start of training."""
        self._restored = checkpoint.get("random_state")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore this rank's state, once; in a new run give each rank dropout of its own."""
        if self._restored and trainer.global_rank < len(self._restored):
            restore_random_state(self._restored[trainer.global_rank], pl_module.device)
        elif trainer.global_rank > 0:
            torch.manual_seed(torch.initial_seed() + trainer.global_rank)
        self._restored = None
