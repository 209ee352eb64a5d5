"""Lines come in order and whole, in groups that end where the input pauses."""

import io
import os
import threading

import pytest

from minitf.commands.lines import decode_line, read_chunks
from minitf.config.errors import UserError


def test_lines_are_kept_whole_and_in_order():
    raw = b"a\n\nb \r\n  c\rd\n\xe2\x80\xa8e\x0cf\nlast"
    found = [line for chunk in read_chunks(io.BytesIO(raw), 2) for line in chunk]
    assert found == [b"a", b"", b"b ", b"  c\rd", b"\xe2\x80\xa8e\x0cf", b"last"]


def test_groups_are_full_where_the_input_does_not_pause(monkeypatch):
    monkeypatch.setattr("minitf.commands.lines._PAUSE", 60.0)  # nor does a busy machine
    raw = b"".join(b"%d\n" % n for n in range(1007))
    assert [len(chunk) for chunk in read_chunks(io.BytesIO(raw), 100)] == [100] * 10 + [7]
    assert list(read_chunks(io.BytesIO(b""), 5)) == []


def test_a_pause_ends_a_group():
    read, write = os.pipe()
    answered = threading.Event()

    def talk():
        with os.fdopen(write, "wb", buffering=0) as stream:
            stream.write(b"first\n")
            assert answered.wait(20), "the line was not handed on before the input ended"
            stream.write(b"second\n")

    talker = threading.Thread(target=talk)
    talker.start()
    chunks = []
    with os.fdopen(read, "rb") as stream:
        for chunk in read_chunks(stream, 100):
            chunks.append(chunk)
            answered.set()
    talker.join()
    assert chunks == [[b"first"], [b"second"]]


def test_an_error_of_the_input_comes_after_the_lines_before_it():
    class Broken(io.BytesIO):
        def __next__(self):
            if self.tell() == 4:
                raise OSError(5, "Input/output error", "the disk")
            return super().__next__()

    found = []
    chunks = read_chunks(Broken(b"a\nb\nc\n"), 10)
    with pytest.raises(UserError, match="the input could not be read: Input/output error"):
        found.extend(line for chunk in chunks for line in chunk)
    assert found == [b"a", b"b"]


@pytest.mark.parametrize(
    ("raw", "replaced", "message"),
    [
        (b"caf\xe9 au lait", "caf\ufffd au lait", r"not UTF-8 \(byte 0xe9 at column 4\)"),
        (b"a\0b", "a\ufffdb", r"NUL bytes \(is it UTF-16\?\)"),
        (b"half \xc3", "half \ufffd", "byte 0xc3 at column 6"),
        (b"\xed\xa0\x80", "\ufffd\ufffd\ufffd", "not UTF-8"),  # a surrogate
    ],
)
def test_what_is_no_text_is_refused_with_its_line_or_replaced(raw, replaced, message):
    with pytest.raises(UserError, match=rf"line 7 of in\.txt .*{message}"):
        decode_line(raw, 7, "in.txt")
    assert decode_line(raw, 7, "in.txt", replace=True) == replaced


def test_a_byte_order_mark_is_no_text():
    assert decode_line(b"\xef\xbb\xbfHund", 1, "x") == "Hund"
    assert decode_line(b"\xef\xbb\xbfHund", 2, "x") == "\ufeffHund"
