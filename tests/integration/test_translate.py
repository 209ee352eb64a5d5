"""`minitf translate` as a user runs it."""

import json
import os
import subprocess
import sys
import time

import pytest

import minitf
from minitf.commands import main
from minitf.commands.lines import one_line

MINITF = [sys.executable, "-c", "import sys; from minitf.commands import main; sys.exit(main())"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}


@pytest.fixture(scope="module")
def expected(tiny_run, sentences):
    texts = [source for source, _ in sentences]
    found = minitf.load(tiny_run, device="cpu").translate(texts)
    return dict(zip(texts, map(one_line, found), strict=True))


@pytest.fixture
def translate(tiny_run, capsys):
    """The command in this process: exit code, standard output, standard error."""

    def call(*arguments):
        code = main(["translate", str(tiny_run), "--device", "cpu", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def lines_of(output):
    """Ended by LF alone: a model may write other separators, which are text."""
    *lines, rest = output.split("\n")
    assert rest == ""
    return lines


def test_a_pipe_in_a_foreign_locale(tiny_run, expected):
    texts = list(expected)
    lines = [texts[0], "", texts[1], "   ", texts[2]]
    environment = {**ENVIRONMENT, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*MINITF, "translate", str(tiny_run), "--device", "cpu"],
        input="\r\n".join(lines).encode(), env=environment, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = done.stdout.decode().split("\n")
    assert found == [expected[texts[0]], "", expected[texts[1]], "", expected[texts[2]], ""]
    assert b"translated 5 lines" in done.stderr


def test_files_and_buffers_keep_the_order(translate, expected, tmp_path):
    texts = [*expected, *reversed(expected)]
    source, output = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text("\n".join(texts) + "\n")
    code, out, err = translate("--input", source, "--output", output, "--buffer", 5, "--quiet")
    assert (code, out, err) == (0, "", "")
    assert lines_of(output.read_bytes().decode()) == [expected[text] for text in texts]


def test_decoding_options_and_attention_reach_the_model(translate, tiny_run, expected):
    text = next(iter(expected))
    options = ["--beam-size", 4, "--n-best", 2, "--length-penalty", 0.3, "--attention", "torch"]
    code, out, _ = translate("--text", text, *options)
    assert code == 0
    found = minitf.load(tiny_run, device="cpu").translations(
        [text], beam_size=4, n_best=2, length_penalty=0.3
    )[0]
    lines = [f"1\t{h.score:.4f}\t{one_line(h.text)}" for h in found.hypotheses]
    assert lines_of(out) == lines


def test_numbered_lines_stay_so_where_a_sentence_has_one_hypothesis(translate, expected):
    text = next(iter(expected))
    code, out, _ = translate("--text", "", "--text", text, "--n-best", 2)
    assert code == 0
    assert lines_of(out)[0] == "1\t0.0000\t"
    assert [line.split("\t")[0] for line in lines_of(out)] == ["1", "2", "2"]


@pytest.mark.parametrize(
    ("closed", "arguments", "message"),
    [
        ("<&-", "", "translate: standard input is closed: give --input FILE or --text"),
        (">&-", "--text Cats.", "standard output is closed: send it to a file or to /dev/null"),
        ("2>&-", "--text Cats.", ""),
    ],
)
def test_a_closed_stream_takes_one_line(tiny_run, closed, arguments, message):
    command = 'exec "$0" -c "$1" translate "$2" --device cpu --max-length-ratio 0 '
    done = subprocess.run(
        ["sh", "-c", f"{command} {arguments} {closed}", *(MINITF[0], MINITF[2], str(tiny_run))],
        env=ENVIRONMENT, capture_output=True, stdin=subprocess.DEVNULL, text=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == (f"minitf: {message}\n" if message else "")
    assert done.returncode == (2 if message else 0)


def test_a_users_own_class_is_found_in_the_working_directory(
    translate, expected, tmp_path, monkeypatch
):
    (tmp_path / "my_own.py").write_text(
        "from torch import nn\n"
        "class Attention(nn.MultiheadAttention):\n"
        "    def forward(self, *args, **options):\n"
        "        print('mine')\n"
        "        return super().forward(*args, **options)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    text = next(iter(expected))
    code, out, _ = translate("--text", text, "--attention", "my_own.Attention")
    assert code == 0
    assert out.startswith("mine\n")
    assert out.replace("mine\n", "") == expected[text] + "\n"


def test_json_has_tokens_scores_and_alignment(translate, expected):
    texts = list(expected)[:2]
    code, out, _ = translate("--text", texts[0], "--text", "", "--text", texts[1], "--json")
    assert code == 0
    records = [json.loads(line) for line in lines_of(out)]
    assert [r["source"] for r in records] == [texts[0], "", texts[1]]
    assert [r["translation"] for r in records] == [expected[texts[0]], "", expected[texts[1]]]
    for record in records:
        for hypothesis in record["hypotheses"]:
            assert hypothesis["log_prob"] <= 0.0
            assert len(hypothesis["alignment"]) == len(hypothesis["tokens"])
            assert all(0 <= i < len(record["source_tokens"]) for i in hypothesis["alignment"])


def test_the_attention_map_is_a_picture(translate, expected, tmp_path):
    file = tmp_path / "map.png"
    options = ["--text", "", "--text", "A dog.", "--max-length-ratio", 1, "--max-length-extra", 3]
    code, _, err = translate(*options, "--attention-map", file)
    assert (code, f"wrote {file}" in err) == (0, True)
    assert file.read_bytes().startswith(b"\x89PNG")
    code, _, err = translate("--text", "", "--attention-map", tmp_path / "none.png")
    assert (code, "no attention map is drawn: there is no line with text" in err) == (0, True)


def test_an_attention_map_that_cannot_be_drawn_loses_no_line(translate, expected, tmp_path):
    file = tmp_path / "map.png"
    options = ["--text", "dog " * 80, "--text", "A dog.", "--buffer", 1, "--attention-map", file]
    code, out, err = translate(*options)
    assert (code, len(lines_of(out))) == (2, 2)
    assert "an attention map shows sentences up to 60 tokens" in err
    code, out, err = translate(*options, "--max-source-tokens", 10, "--truncate",
                               "--max-length-ratio", 1, "--max-length-extra", 3)  # fmt: skip
    assert (code, len(lines_of(out))) == (0, 2)
    assert file.read_bytes().startswith(b"\x89PNG")  # of the tokens that were read


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full")
def test_an_attention_map_that_cannot_be_written_loses_no_line(translate, tmp_path):
    file = tmp_path / "map.png"
    file.symlink_to("/dev/full")
    options = ["--text", "A dog.", "--text", "A cat.", "--buffer", 1, "--attention-map", file]
    code, out, err = translate(*options, "--max-length-ratio", 1, "--max-length-extra", 3)
    assert (code, len(lines_of(out))) == (2, 2)
    assert f"{file} could not be written: No space left on device" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a disk that is always full")
def test_what_nobody_hears_ends_no_work(tiny_run, expected):
    text = next(iter(expected))
    command = [*MINITF, "translate", str(tiny_run), "--device", "cpu", "--truncate",
               "--max-source-tokens", "30", "--text", text, "--text", "dog " * 99]  # fmt: skip
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=full, env=ENVIRONMENT, text=True
        )
    assert done.returncode == 0
    assert lines_of(done.stdout)[0] == expected[text]
    assert len(lines_of(done.stdout)) == 2


def test_a_bad_line_of_a_pipe_by_name_is_not_waited_for(tiny_run, tmp_path):
    """Its writer may stay; the thread that reads is not to be waited for."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    command = [*MINITF, "translate", str(tiny_run), "--device", "cpu", "--input", str(fifo)]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True)
    with fifo.open("wb", buffering=0) as writer:
        writer.write(b"\xff\n")
        _, err = child.communicate(timeout=60)  # while it is still open
        assert child.returncode == 2
        assert f"line 1 of {fifo} is not UTF-8" in err


@pytest.mark.parametrize("by", ["name", "link", "redirection"])
def test_the_input_is_not_overwritten(translate, tiny_run, expected, tmp_path, by):
    file, output = tmp_path / "in.txt", tmp_path / "out.txt"
    text = "".join(f"{text}\n" for text in expected)
    file.write_text(text)
    target = output if by == "link" else file
    if by == "link":
        output.symlink_to(file)
    if by == "redirection":
        with file.open() as stream:
            done = subprocess.run(
                [*MINITF, "translate", str(tiny_run), "--output", str(file)],
                stdin=stream, env=ENVIRONMENT, capture_output=True, text=True,
            )  # fmt: skip
        code, err = done.returncode, done.stderr
    else:
        code, _, err = translate("--input", file, "--output", target)
    assert code == 2
    assert f"--output {target} is the input" in err
    assert file.read_text() == text


def test_a_picture_overwrites_no_text(translate, expected, tmp_path):
    file = tmp_path / "in.svg"
    file.write_text("A dog.\n")
    code, _, err = translate("--input", file, "--attention-map", file)
    assert (code, f"--attention-map {file} is the input" in err) == (2, True)
    assert file.read_text() == "A dog.\n"
    both = tmp_path / "new.png"
    code, _, err = translate("--text", "A dog.", "--output", both, "--attention-map", both)
    assert (code, f"--output and --attention-map are both {both}" in err) == (2, True)
    assert not both.exists()


def test_lines_typed_into_a_file(tiny_run, expected, tmp_path):
    """At a terminal, with --output: no prompt, and the file gets the translations alone."""
    pexpect = pytest.importorskip("pexpect")
    text, file = next(iter(expected)), tmp_path / "out.txt"
    child = pexpect.spawn(
        MINITF[0], [*MINITF[1:], "translate", str(tiny_run), "--device", "cpu", "--output",
                    str(file)],
        env={**ENVIRONMENT, "TERM": "dumb"}, encoding="utf-8", timeout=60,
    )  # fmt: skip
    child.expect("type lines, and Ctrl-D at the end")
    child.sendline(text)
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert file.read_text() == expected[text] + "\n"


def test_a_prefix_is_kept(translate):
    assert translate("--text", "A dog.", "--prefix", "Gänse ")[1].startswith("Gänse ")
    unseen = "🦊 ☃\u0303 "  # bytes that no training text held
    assert translate("--text", "A dog.", "--prefix", unseen)[1].startswith(unseen)


def test_a_long_line_of_nothing_is_empty(translate, tmp_path):
    file = tmp_path / "in.txt"
    file.write_text(f"A dog.\n{' ' * 3000}\nA cat.\n")
    code, out, _ = translate("--input", file)
    assert code == 0
    assert [line == "" for line in lines_of(out)] == [False, True, False]


def test_a_prefix_that_cannot_be_kept_is_refused(translate, make_run, capsys, tmp_path):
    output = tmp_path / "out.txt"
    output.write_text("old")
    torn = os.fsdecode(b"x\xff")
    assert translate("--text", "A dog.", "--prefix", torn, "--output", output)[0] == 2
    characters = make_run("tokenizer=char", "tokenizer.min_frequency=1")
    text = ["--text", "A dog.", "--prefix", "A ☃", "--output", str(output)]
    assert main(["translate", str(characters), *text]) == 2
    assert "the prefix 'A ☃' holds a character that the vocabulary has" in capsys.readouterr().err
    assert output.read_text() == "old"


@pytest.mark.parametrize(
    ("bad", "message", "option"),
    [
        (b"caf\xe9", "line 3 of FILE is not UTF-8 (byte 0xe9 at column 4)",
         "--replace-invalid"),
        (b"a\0b", "line 3 of FILE holds NUL bytes", "--replace-invalid"),
        (b"dog " * 5000, "line 3 of FILE has 10,000 tokens, more than 1,024", "--truncate"),
    ],
)  # fmt: skip
def test_a_bad_line_loses_no_other(translate, tiny_run, expected, tmp_path, bad, message, option):
    translator = minitf.load(tiny_run, device="cpu")
    if option == "--truncate":
        length = len(translator.tokenizer.encode(bad.decode()))
        message = message.replace("10,000", f"{length:,}")
        assert length >= 10_000
    texts = list(expected)
    file = tmp_path / "in.txt"
    file.write_bytes(b"\n".join([texts[0].encode(), texts[1].encode(), bad, texts[2].encode()]))
    expected = [one_line(t) for t in translator.translate(texts, max_length_ratio=0.01)]
    options = ["--input", file, "--max-length-ratio", 0.01]
    code, out, err = translate(*options)
    assert code == 2
    assert message.replace("FILE", str(file)) in err
    assert err.count("\n") == 1
    assert lines_of(out) == expected[:2]
    code, out, _ = translate(*options, option)
    assert code == 0
    lines = out.split("\n")
    assert (lines[0], lines[1], lines[3]) == (*expected[:2], expected[2])


def test_a_reader_that_leaves_ends_it_quietly(tiny_run, expected):
    process = subprocess.Popen(
        [*MINITF, "translate", str(tiny_run), "--device", "cpu", "--buffer", "1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip
    text = next(iter(expected))
    process.stdin.write(f"{text}\n".encode())
    process.stdin.flush()
    assert process.stdout.readline().decode() == expected[text] + "\n"  # it streams
    process.stdout.close()
    process.stdin.write(f"{text}\n".encode() * 3)
    process.stdin.close()
    with process.stderr as errors:
        assert errors.read() == b""
    assert process.wait(60) == 141


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere does not exist"),
        ([], "translate: the following arguments are required: RUN_DIR"),
        (["RUN", "--input", "no.txt"], "no.txt: No such file or directory"),
        (["RUN", "--text", "a", "--input", "b"], "--text or --input, not both"),
        (["RUN", "--text", "a", "--beam-size", "two"], "--beam-size: invalid int value: 'two'"),
        (["RUN", "--text", "a", "--beam-size", "0"], "beam_size must be at least 1"),
        (["RUN", "--text", "a", "--checkpoint", "bset"], "there is: best.ckpt, epoch-0000.ckpt"),
        (["RUN", "--text", "a", "--attention", "tourch"], "did you mean torch?"),
        (["RUN", "--text", "a", "--attention", "torch", "--kernel", "math"],
         "MultiheadAttention takes no such option"),
        (["RUN", "--text", "a", "--device", "tpu"], "device=tpu cannot be used"),
        (["RUN", "--text", "a", "--buffer", "0"], "--buffer and --max-source-tokens"),
        (["RUN", "--text", "a", "--output", "no/where.txt"], "no/where.txt: No such file"),
        (["RUN", "--text", "a", "--attention-map", "map.jpgg"], "map.jpgg cannot be written"),
        (["RUN", "--text", "a", "--attention-map", "no/map.png"], "no/map.png cannot be written"),
        (["RUN", "--text", "~", "--max-source-tokens", "1"], "line 1 of the input has 2 tokens"),
        (["RUN", "--text", "a", "--beam-size", "2", "--top-k", "3"], "leave one out"),
        (["RUN", "--beem-size", "3"], "unrecognized arguments: --beem-size 3"),
    ],
)  # fmt: skip
def test_what_is_wrong_takes_one_line(tiny_run, capsys, arguments, message):
    arguments = [str(tiny_run) if a == "RUN" else a for a in arguments]
    assert main(["translate", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_the_prompt_answers_keeps_a_history_and_survives_errors(tiny_run, expected, tmp_path):
    pexpect = pytest.importorskip("pexpect")
    text = next(iter(expected))
    environment = {**ENVIRONMENT, "XDG_STATE_HOME": str(tmp_path), "TERM": "dumb"}
    child = pexpect.spawn(
        MINITF[0], [*MINITF[1:], "translate", str(tiny_run), "--device", "cpu", "--truncate",
                    "--max-source-tokens", "30"],
        env=environment, encoding="utf-8", timeout=60, dimensions=(40, 200),
    )  # fmt: skip
    child.expect("Ctrl-D ends")
    child.expect("> ")
    child.sendline(text)
    child.expect_exact(expected[text])
    assert "line" not in child.before  # progress would stand in the answer's way
    child.expect("> ")
    child.sendline("a\x16\x00b")  # readline's quoted insert of a NUL
    child.expect("> ")
    time.sleep(0.2)  # Python takes a moment from the prompt to hearing signals there
    child.sendintr()
    child.expect("> ")
    child.sendline("")
    child.expect("> ")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert text in (tmp_path / "minitf" / "history").read_text().splitlines()
