"""Checkpoints that are whole or not there."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from minitf.config import UserError


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
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Load a checkpoint; never runs code from it.

        Raises:
            UserError: a URL, or a file that is not a checkpoint.
        """
        return read_checkpoint(path, map_location=map_location)


def read_checkpoint(path: str | Path, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint's content as tensors and plain containers.

    Raises:
        UserError: a URL, no such file, or a file that is not a whole checkpoint.
    """
    if urlparse(str(path)).scheme in ("http", "https", "s3", "gs", "ftp"):
        raise UserError(f"a checkpoint must be a local file; got {path}: download it first")
    if not Path(path).is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(f"{path} is not a whole, plain checkpoint: {reason}") from error
    if not isinstance(content, dict) or "state_dict" not in content:
        raise UserError(f"{path} is not a training checkpoint: it holds no state_dict")
    return content
