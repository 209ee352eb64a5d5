"""A run's directory: one run in it, one process at a time, nothing left by a start that failed."""

import contextlib
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from minitf.config import UserError
from minitf.config.whole_file import whole_file
from minitf.tokenizer import TextTokenizer

try:
    import fcntl
except ImportError:  # Windows has none; there two processes can meet
    fcntl = None  # type: ignore[assignment]

RANK_CONFIG = "MINITF_RANK_CONFIG"
"""Environment variable of a data-parallel run's further processes: rank 0's config.yaml."""


@contextlib.contextmanager
def held(run_dir: Path, *, resume: bool) -> Iterator[None]:
    """Keep the directory for this process while the block runs; one left empty is removed.

    Raises:
        UserError: it holds another run, another process trains in it, or it cannot be made.
    """
    if not resume and any((run_dir / "checkpoints").glob("*.ckpt")):
        raise UserError(
            f"{run_dir} holds a run already; choose another run_dir, or go on with resume={run_dir}"
        )
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"run_dir={run_dir} cannot be made: {error.strerror}") from error
    handle = _lock(run_dir)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # it is not empty
            run_dir.rmdir()
        if handle is not None:
            os.close(handle)


def _lock(run_dir: Path) -> int | None:
    """Lock the directory; the kernel lets go of it, whatever ends this process."""
    if fcntl is None:
        return None
    handle = os.open(run_dir, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise UserError(
            f"another process is training in {run_dir}; wait for it, or choose another run_dir"
        ) from error
    except OSError:
        pass  # a file system without locks
    return handle


def begin(run_dir: Path, config: dict[str, Any], tokenizer: TextTokenizer, *, resume: bool) -> None:
    """Write what a run starts from, once nothing is left that could refuse it.

    `outputs/latest` points to it from now on.
    """
    if not resume:
        (run_dir / "metrics.csv").unlink(missing_ok=True)  # of a start that saved no checkpoint
        tokenizer.save(run_dir / "tokenizer.json")
    with whole_file(run_dir / "config.yaml") as partial:
        OmegaConf.save(OmegaConf.create(config), partial)
    latest = Path("outputs") / "latest"
    with contextlib.suppress(OSError):  # a convenience, which not every place has
        latest.parent.mkdir(exist_ok=True)
        if latest.is_symlink() or not latest.exists():
            temporary = latest.with_name(f".latest-{os.getpid()}")
            temporary.symlink_to(os.path.relpath(run_dir, latest.parent.resolve()))
            temporary.replace(latest)


def once_there_is_room(run_dir: Path) -> str:
    """What to do where the disk was full."""
    if (run_dir / "checkpoints" / "last.ckpt").is_file():
        return f"make room, and go on with {shlex.quote(f'resume={shown(run_dir)}')}"
    return "make room, and start the run again"


def shown(path: Path) -> str:
    """As a user would type it: relative where it lies below the working directory."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
