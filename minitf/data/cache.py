"""What was made once and is made the same each time: kept in the user's cache folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


def user_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/minitf`, or `~/.cache/minitf`; all in it can be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minitf"


def kept(
    path: Path, make: Callable[[], T], load: Callable[[Path], T], save: Callable[[T, Path], None]
) -> T:
    """What lies at `path`; where nothing (readable) does, what `make` gives, which is put there.

    Complete or not there at all: it is written beside the place and moved into it, so several
    processes may ask at once. A folder that cannot be written only costs the time to make it anew.

    Args:
        path: a file or folder whose name holds a digest of all that the result depends on.
        make: makes the result.
        load: reads it; whatever it raises means that it must be made again.
        save: writes it to a path that does not exist yet.
    """
    with contextlib.suppress(Exception):  # not there, cut off, of another version, not ours to read
        return load(path)
    _remove(path)
    made = make()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".new-") as folder:
            save(made, Path(folder) / path.name)
            (Path(folder) / path.name).rename(path)
    return made


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
