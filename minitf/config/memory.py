"""A lack of memory, on a CPU or an accelerator, told in one line."""

import contextlib
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
        if not is_lack_of_memory(error):
            raise
        raise UserError(f"out of memory{advice}") from error


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether it says that memory was not enough."""
    from torch import OutOfMemoryError  # an accelerator's

    on_cpu = "DefaultCPUAllocator" in str(error)
    return isinstance(error, (MemoryError, OutOfMemoryError)) or on_cpu
