"""Whatever ends `minitf translate`, the lines translated before are there."""

import os
import signal
import subprocess
import sys
import time

import pytest

import minitf
from minitf.commands.lines import one_line

MINITF = [sys.executable, "-c", "import sys; from minitf.commands import main; sys.exit(main())"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def expected(tiny_run, sentences):
    texts = [source for source, _ in sentences]
    found = minitf.load(tiny_run, device="cpu").translate(texts)
    return dict(zip(texts, map(one_line, found), strict=True))


@pytest.mark.parametrize(
    ("sent", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
)
def test_a_signal_loses_no_line_that_was_translated(tiny_run, expected, tmp_path, sent, code):
    output = tmp_path / "out.txt"
    process = subprocess.Popen(
        [*MINITF, "translate", str(tiny_run), "--device", "cpu", "--output", str(output)],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip
    texts = list(expected)[:3]
    process.stdin.write("".join(f"{text}\n" for text in texts).encode())
    process.stdin.flush()  # and no end: the command waits for more
    whole = "".join(f"{expected[text]}\n" for text in texts).encode()
    deadline = time.monotonic() + 60
    while not (output.exists() and output.read_bytes() == whole):
        assert time.monotonic() < deadline, "the lines were not written while the input paused"
        time.sleep(0.05)
    time.sleep(0.2)  # it waits for lines again
    process.send_signal(sent)
    assert process.wait(30) == code
    said = process.stderr.read()
    assert said == (b"\nstopped: 3 lines written\n" if sent == signal.SIGINT else b"")
    process.stdin.close()
    process.stderr.close()
    assert output.read_bytes() == whole


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_in_the_middle_of_a_chunk(tiny_run, expected, tmp_path, times):
    """The first lets the chunk come to its end, the second does not; both leave whole chunks."""
    size = 47
    texts = list(expected)[:size] * 200
    (tmp_path / "in.txt").write_text("".join(f"{text}\n" for text in texts))
    output = tmp_path / "out.txt"
    process = subprocess.Popen(
        [*MINITF, "translate", str(tiny_run), "--device", "cpu", "--buffer", str(size),
         "--beam-size", "5", "--input", str(tmp_path / "in.txt"), "--output", str(output)],
        stderr=subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip
    seen = []
    for chunks in (1, 2):
        deadline = time.monotonic() + 60
        while not (output.exists() and output.read_bytes().count(b"\n") >= chunks * size):
            assert time.monotonic() < deadline, "no chunk was written"
            time.sleep(0.005)
        seen.append(time.monotonic())
    time.sleep((seen[1] - seen[0]) / 3)  # well inside the third
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    written = output.read_bytes().count(b"\n")
    assert written % size == 0
    assert 2 * size <= written < len(texts)
    assert said.decode().endswith(f"\nstopped: {written} lines written\n")
    assert f"stopping after {size} lines more" in said.decode()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux' /dev/full")
@pytest.mark.parametrize("by", ["--output", ">"])
def test_a_full_disk_takes_one_line(tiny_run, by):
    command = [*MINITF, "translate", str(tiny_run), "--device", "cpu", "--text", "Cats sleep."]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*command, *(["--output", "/dev/full"] if by == "--output" else [])],
            stdout=full if by == ">" else subprocess.PIPE, stderr=subprocess.PIPE,
            env=ENVIRONMENT, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == b"minitf: the output could not be written: No space left on device\n"
