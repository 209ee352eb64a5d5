"""What a command may lack: memory; and what it must not overwrite."""

import contextlib
import os
from collections.abc import Iterator

from minitf.config.errors import UserError


@contextlib.contextmanager
def told_of_memory(advice: str) -> Iterator[None]:
    """Answer a lack of memory in one line.

    Raises:
        UserError: there was not enough.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_lack_of_memory(error):
            raise
        raise UserError(f"out of memory{advice}") from error


def _is_lack_of_memory(error: BaseException) -> bool:
    from torch import OutOfMemoryError  # an accelerator's

    on_cpu = "DefaultCPUAllocator" in str(error)
    return isinstance(error, (MemoryError, OutOfMemoryError)) or on_cpu


def same_place(one: str, other: str) -> bool:
    """Whether two names are of one file, which need not be there yet."""
    return os.path.realpath(one) == os.path.realpath(other)


def refuse_to_overwrite(source: str | int, output: str | None, option: str) -> None:
    """Refuse an output that is an input, a file or standard input.

    Raises:
        UserError: it is.
    """
    if output and os.path.isfile(output) and os.path.samestat(os.stat(source), os.stat(output)):
        raise UserError(f"{option} {output} is the input: give another file")
