"""Strict reading: lines are what `wc -l` counts, and every fault is named with its place."""

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitf.config.errors import UserError
from minitf.data.text import decode_lines, read_lines


def written(folder: Path, content: bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


LINE_BREAKS_ELSEWHERE = ["\r", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]


@pytest.mark.parametrize("character", LINE_BREAKS_ELSEWHERE, ids=ascii)
def test_only_newline_ends_a_line(tmp_path: Path, character: str) -> None:
    path = written(tmp_path, f"a{character}b\nc{character}\nd".encode())
    lines = list(read_lines(path))
    expected = [f"a{character}b", f"c{character}", "d"]
    if character == "\r":
        expected[1] = "c"  # "\r\n" is one line end
    assert lines == expected


LINE = st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"])).filter(
    lambda line: not line.endswith("\r") and not line.startswith("\ufeff")
)


@given(st.lists(LINE), st.sampled_from(["\n", "\r\n"]))
def test_any_lines_come_back(lines: list[str], end: str) -> None:
    stream = io.BytesIO("".join(line + end for line in lines).encode())
    assert list(decode_lines(stream, "x")) == lines


def test_windows_line_ends_and_byte_order_mark_are_left_out(tmp_path: Path) -> None:
    assert list(read_lines(written(tmp_path, b"\xef\xbb\xbfa\r\nb\r\n"))) == ["a", "b"]


def test_a_carriage_return_that_ends_no_line_is_text(tmp_path: Path) -> None:
    assert list(read_lines(written(tmp_path, b"a\r\r\nb\r"))) == ["a\r", "b\r"]


def test_a_byte_order_mark_inside_is_text(tmp_path: Path) -> None:
    assert list(read_lines(written(tmp_path, "a\n\ufeffb\n".encode()))) == ["a", "\ufeffb"]


def test_ends_are_kept_on_request(tmp_path: Path) -> None:
    path = written(tmp_path, b"a\r\nb\nc")
    assert list(read_lines(path, keep_ends=True)) == ["a\r\n", "b\n", "c"]


def test_the_last_line_needs_no_end_and_an_empty_file_has_no_line(tmp_path: Path) -> None:
    assert list(read_lines(written(tmp_path, b"a\n\n"))) == ["a", ""]
    assert list(read_lines(written(tmp_path, b"a\n\nb"))) == ["a", "", "b"]
    assert list(read_lines(written(tmp_path, b""))) == []


@pytest.mark.parametrize("name", ["a.gz", "A.GZ"])
def test_gzip_is_unpacked(tmp_path: Path, name: str) -> None:
    assert list(read_lines(written(tmp_path, gzip.compress(b"a\nb\n"), name))) == ["a", "b"]


BROKEN = {
    "latin-1": (
        "a.txt",
        "ok\nKäse\n".encode("latin-1"),
        "{path}:2: byte 0xe4 at offset 4 is not UTF-8; convert the file, for example with "
        "iconv -f latin1 -t utf-8",
    ),
    "latin-1 after a byte order mark": (
        "a.txt",
        b"\xef\xbb\xbfab\xe4\n",
        "{path}:1: byte 0xe4 at offset 5 is not UTF-8; convert the file, for example with "
        "iconv -f latin1 -t utf-8",
    ),
    "half a character at the end": (
        "a.txt",
        "ok\nKä".encode()[:-1],
        "{path}:2: byte 0xc3 at offset 4 is not UTF-8; convert the file, for example with "
        "iconv -f latin1 -t utf-8",
    ),
    "UTF-8 of a surrogate": (
        "a.txt",
        b"\xed\xa0\x80\n",
        "{path}:1: byte 0xed at offset 0 is not UTF-8; convert the file, for example with "
        "iconv -f latin1 -t utf-8",
    ),
    "UTF-16": (
        "a.txt",
        "a\n".encode("utf-16"),
        "{path} is UTF-16; convert it with iconv -f utf-16 -t utf-8, text must be UTF-8",
    ),
    "NUL": (
        "a.txt",
        b"ok\na\0b\n",
        "{path}:2: NUL byte at offset 4; this is not a text file in UTF-8, or it is damaged",
    ),
    "cut gzip": (
        "a.gz",
        gzip.compress(b"some text\n" * 99, mtime=0)[:-9],
        "{path} is not a whole gzip file (Compressed file ended before the end-of-stream marker "
        "was reached); fetch it again, or rename it if it is plain text",
    ),
    "plain text called .gz": (
        "a.gz",
        b"text\n",
        "{path} is not a whole gzip file (Not a gzipped file (b'te')); fetch it again, or rename "
        "it if it is plain text",
    ),
    "gzip with a damaged check sum": (
        "a.gz",
        gzip.compress(b"text\n", mtime=0)[:-8] + b"\0" * 8,
        "{path} is not a whole gzip file (CRC check failed 0x0 != 0x37ecda27); fetch it again, "
        "or rename it if it is plain text",
    ),
}


@pytest.mark.parametrize(("name", "content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = written(tmp_path, content, name)
    with pytest.raises(UserError) as caught:
        list(read_lines(path))
    assert str(caught.value) == message.format(path=path)


def test_lines_before_a_fault_are_not_lost(tmp_path: Path) -> None:
    lines = read_lines(written(tmp_path, b"a\nb\n\xff\n"))
    assert [next(lines), next(lines)] == ["a", "b"]
    with pytest.raises(UserError, match=":3: byte 0xff"):
        next(lines)


def test_a_missing_file_lists_its_folder(tmp_path: Path) -> None:
    written(tmp_path, b"", "b.txt")
    (tmp_path / "c").mkdir()
    with pytest.raises(UserError) as caught:
        list(read_lines(tmp_path / "a.txt"))
    assert str(caught.value) == f"{tmp_path}/a.txt is not a file; {tmp_path} holds b.txt, c/"


def test_a_long_listing_is_cut(tmp_path: Path) -> None:
    for n in range(13):
        written(tmp_path, b"", f"{n:02}.txt")
    with pytest.raises(UserError, match=r"holds 00\.txt, .*09\.txt and 3 more$"):
        list(read_lines(tmp_path / "a.txt"))


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a file"):
        list(read_lines(tmp_path))
