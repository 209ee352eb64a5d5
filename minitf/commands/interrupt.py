"""Ctrl-C that waits for what has been begun."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType


@contextlib.contextmanager
def at_the_end(notice: str) -> Iterator[None]:
    """Let Ctrl-C take effect at the end of the block, and a second Ctrl-C inside it.

    Args:
        notice: What the first one prints on stderr.

    Raises:
        KeyboardInterrupt: At the end of the block; by the second Ctrl-C inside it, which still
            waits for what the block itself puts in order.
    """
    came = False

    def handle(signum: int, frame: FrameType | None) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True
        with contextlib.suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), f"\n{notice}\n".encode())  # print may be at work itself

    before = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if before is not signal.default_int_handler or not in_main_thread:  # ignored, or another's
        yield
        return
    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
