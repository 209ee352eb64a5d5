"""Lines of text from a file or a pipe, as they come, strictly decoded."""

import queue
import threading
from collections.abc import Iterator
from typing import BinaryIO

from minitf.config.errors import UserError

_PAUSE = 0.2  # seconds without a new line after which those at hand are translated
_END = None


def read_chunks(stream: BinaryIO, size: int, name: str = "the input") -> Iterator[list[bytes]]:
    """Groups of up to `size` lines, without their line ends.

    A group ends early where the input pauses, so that whoever writes a line and waits for its
    translation gets it; a file or a quick pipe comes in full groups.

    Args:
        stream: The input; lines end with LF or CRLF, and with nothing else.
        size: Lines in a full group.
        name: The input's name, for the error.

    Raises:
        UserError: The input cannot be read on; what stands before has been given.
    """
    lines: queue.Queue[bytes | BaseException | None] = queue.Queue(maxsize=4 * size)

    def read() -> None:
        try:
            for line in stream:
                lines.put(line)
            lines.put(_END)
        except BaseException as error:  # handed to the reader of the queue
            lines.put(error)

    threading.Thread(target=read, daemon=True).start()
    chunk: list[bytes] = []
    while True:
        try:
            line = lines.get(timeout=_PAUSE) if chunk else lines.get()
        except queue.Empty:
            yield chunk
            chunk = []
            continue
        if line is _END or isinstance(line, BaseException):
            break
        chunk.append(line.removesuffix(b"\n").removesuffix(b"\r"))
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
    if isinstance(line, OSError):
        raise UserError(f"{name} could not be read: {line.strerror or line}") from line
    if isinstance(line, BaseException):
        raise line


def decode_line(
    raw: bytes,
    number: int,
    name: str,
    *,
    replace: bool = False,
    advice: str = "convert it to UTF-8",
) -> str:
    """A line's text.

    Args:
        raw: Its bytes.
        number: Its number, from 1, for the error.
        name: The input's name, for the error.
        replace: Put U+FFFD for what cannot be read instead of refusing the line.
        advice: What to do, for the error.

    Raises:
        UserError: The line is not UTF-8, or holds NUL bytes, as UTF-16 read as UTF-8 does.
    """
    if number == 1:
        raw = raw.removeprefix(b"\xef\xbb\xbf")
    if b"\0" in raw:
        if not replace:
            raise UserError(f"line {number} of {name} holds NUL bytes (is it UTF-16?); {advice}")
        raw = raw.replace(b"\0", "\ufffd".encode())
    try:
        return raw.decode("utf-8", errors="replace" if replace else "strict")
    except UnicodeDecodeError as error:
        raise UserError(
            f"line {number} of {name} is not UTF-8 "
            f"(byte 0x{raw[error.start]:02x} at column {error.start + 1}); {advice}"
        ) from None


def one_line(text: str) -> str:
    """The text without line ends: one inside a translation would shift every line after it."""
    return text.replace("\r", " ").replace("\n", " ")
