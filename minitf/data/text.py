"""Reading text strictly, line by line; whatever is wrong is named with its file and line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from minitf.config.errors import UserError

_UTF8_BOM = b"\xef\xbb\xbf"
_LISTED = 10
"""Names of a folder's files that a message shows."""


def read_lines(path: str | Path, *, keep_ends: bool = False) -> Iterator[str]:
    r"""Yield a UTF-8 text file's lines; `.gz` is unpacked.

    A line ends with `\n` or `\r\n` and with nothing else: other characters that count as line
    breaks elsewhere (a lone `\r`, U+2028, form feed) stay in their line, so that lines are counted
    as `wc -l` counts them. A byte order mark at the beginning is left out. An empty file has no
    lines.

    Args:
        path: the file.
        keep_ends: leave each line's end in place, as it stands.

    Raises:
        UserError: No such file, not UTF-8, a NUL byte, or a damaged `.gz`; raised when the reading
            gets there, so the lines before it are not lost.
    """
    path = Path(path)
    try:
        with open_binary(path) as stream:
            yield from decode_lines(stream, str(path), keep_ends=keep_ends)
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise UserError(
            f"{path} is not a whole gzip file ({error}); fetch it again, or rename it if it is "
            "plain text"
        ) from error


def decode_lines(stream: BinaryIO, name: str, *, keep_ends: bool = False) -> Iterator[str]:
    """Yield the lines of an open file or pipe, as `read_lines` does.

    Args:
        stream: bytes; read as they come.
        name: what messages call it.
        keep_ends: leave each line's end in place, as it stands.

    Raises:
        UserError: Not UTF-8, or a NUL byte.
    """
    offset = 0
    for number, line in enumerate(stream, start=1):
        begin, offset = offset, offset + len(line)
        if number == 1:
            _refuse_utf16(line, name)
            line = line.removeprefix(_UTF8_BOM)
            begin = offset - len(line)
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{name}:{number}: byte 0x{line[error.start]:02x} at offset "
                f"{begin + error.start} is not UTF-8; convert the file, for example with "
                "iconv -f latin1 -t utf-8"
            ) from None
        if (nul := line.find(b"\0")) >= 0:
            raise UserError(
                f"{name}:{number}: NUL byte at offset {begin + nul}; this is not a text file in "
                "UTF-8, or it is damaged"
            )
        yield text if keep_ends else _without_end(text)


def _without_end(line: str) -> str:
    # Only "\r\n" is an end; a "\r" that nothing follows in the file is text.
    return line[:-2] if line.endswith("\r\n") else line.removesuffix("\n")


def open_binary(path: Path) -> BinaryIO:
    """Open a plain or `.gz` file for reading bytes.

    Raises:
        UserError: It cannot be opened; what its folder holds instead is listed.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file; {listing(path.parent)}")
    packed = path.suffix.lower() == ".gz"
    try:
        return gzip.open(path, "rb") if packed else path.open("rb")  # type: ignore[return-value]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def listing(folder: Path) -> str:
    """What a folder holds, in words."""
    if not folder.is_dir():
        return f"there is no folder {folder}"
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir())
    if not names:
        return f"{folder} is empty"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{folder} holds {', '.join(names[:_LISTED])}{more}"


def _refuse_utf16(line: bytes, name: str) -> None:
    if line.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(
            f"{name} is UTF-16; convert it with iconv -f utf-16 -t utf-8, text must be UTF-8"
        )
