"""Checkpoints that are whole or not there."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from minitf.config.errors import UserError
from minitf.config.whole_file import whole_file
from minitf.evaluation.checkpoints import read_checkpoint
from minitf.training.directory import once_there_is_room

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The system's errors of a full disk, a quota, and a limit on the size of files."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write beside the target, flush to disk, rename: a kill or a full disk loses nothing.

    Lightning's own goes through $TMPDIR, without a flush: on another file system a kill leaves an
    empty file where the previous checkpoint was.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save a checkpoint under a path of the local file system.

        Raises:
            UserError: it cannot be written; what was there before still is.
        """
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(target) as partial, partial.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            if not isinstance(error, OSError) and "inline_container" not in str(error):
                raise
            if isinstance(error, OSError) and error.errno not in NO_ROOM:
                raise UserError(f"{target} could not be written ({error.strerror})") from error
            # Of a full disk torch says only that its own count of bytes does not fit.
            reason = (error.strerror if isinstance(error, OSError) else None) or (
                "too little room, or a limit on the size of files"
            )
            free = shutil.disk_usage(target.parent).free / 1e6
            raise UserError(
                f"{target} could not be written ({reason}; {free:,.0f} MB are free there): "
                f"{once_there_is_room(target.parents[1])}"
            ) from error

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Load a local checkpoint into main memory; never runs code from it.

        Raises:
            UserError: a file that is not there (a URL is none), or not a whole checkpoint.
        """
        return read_checkpoint(Path(path))
