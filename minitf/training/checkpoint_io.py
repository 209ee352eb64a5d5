"""Checkpoints that are whole or not there."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from minitf.config.whole_file import whole_file
from minitf.evaluation.checkpoints import read_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to disk, rename: a kill or a full disk loses nothing.

    Lightning's own goes through $TMPDIR, without a flush: on another file system a kill leaves an
    empty file where the previous checkpoint was.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save a checkpoint under a path of the local file system."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Load a local checkpoint into main memory; never runs code from it.

        Raises:
            UserError: a file that is not there (a URL is none), or not a whole checkpoint.
        """
        return read_checkpoint(Path(path))
