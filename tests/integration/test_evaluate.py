"""`minitf evaluate` as a user runs it."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import minitf
from minitf.commands import main
from minitf.commands.lines import one_line
from minitf.data import load_data


@pytest.fixture
def files(tmp_path, sentences):
    source, reference = tmp_path / "test.en", tmp_path / "test.de"
    source.write_text("".join(f"{s}\n" for s, _ in sentences))
    reference.write_bytes("".join(f"{t}\r\n" for _, t in sentences).encode())
    return ["--src", str(source), "--ref", str(reference)]


@pytest.fixture
def evaluate(tiny_run, capsys):
    def call(*arguments):
        code = main(["evaluate", str(tiny_run), "--device", "cpu", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_files_are_measured(evaluate, tiny_run, files, sentences, tmp_path):
    output = tmp_path / "out.txt"
    code, out, err = evaluate(*files, "--json", "--translations", output, "--attention", "torch")
    assert (code, err) == (0, "")
    found = json.loads(out)[0]["results"][0]
    texts = [s for s, _ in sentences]
    expected = minitf.load(tiny_run, device="cpu").translate(texts)
    assert output.read_bytes() == "".join(f"{one_line(t)}\n" for t in expected).encode()
    assert found["sentences"] == len(sentences)
    assert "tok:13a" in found["signatures"]["bleu"]
    assert sum(group["sentences"] for group in found["by_source_length"]) == len(sentences)


def test_a_table_with_signatures_is_printed(evaluate, files, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # on a terminal too narrow for it, too
    code, out, _ = evaluate(*files, "--tokenize", "none", "--lowercase")
    assert code == 0
    for heading in ("BLEU", "chrF", "TER", "exact match", "perplexity", "by source length"):
        assert heading in out
    assert "case:lc|eff:no|tok:none" in out
    assert "best.ckpt" in out


def test_the_runs_own_splits_are_measured(evaluate, tiny_run):
    code, out, _ = evaluate("--limit", 3, "--json", "--split", "val", "--split", "test")
    assert code == 0
    found = json.loads(out)
    assert [part["name"] for part in found] == ["val", "test"]
    assert all(part["results"][0]["sentences"] == 3 for part in found)
    default = json.loads(evaluate("--limit", 3, "--json")[1])
    splits = load_data(minitf.load(tiny_run).config.data)
    assert [part["name"] for part in default] == [n for n in splits if n not in ("train", "val")]


def test_two_runs_are_compared(evaluate, make_run, tiny_run, files):
    other = make_run(seed=19)
    code, out, _ = evaluate(other, *files, "--json", "--samples", 50)
    assert code == 0
    found = json.loads(out)[0]
    assert [r["model"] for r in found["results"]] == [
        str(run / "checkpoints" / "best.ckpt") for run in (tiny_run, other)
    ]
    metrics = {c["metric"]: c for c in found["paired_bootstrap"]}
    assert metrics["BLEU"]["baseline"] == pytest.approx(found["results"][0]["bleu"])
    assert metrics["BLEU"]["system"] == pytest.approx(found["results"][1]["bleu"])
    assert 0 < metrics["BLEU"]["p_value"] <= 1
    code, out, _ = evaluate(other, *files, "--samples", 50)
    assert "paired bootstrap" in out
    assert "bs:50" in out


@pytest.mark.parametrize("own_data", [True, False])
def test_a_run_that_lower_cases_is_compared_with_one_that_does_not(
    capsys, make_run, sentences, tmp_path, own_data
):
    for split in ("train", "val", "test"):
        for lang, texts in zip(("en", "de"), zip(*sentences, strict=True), strict=True):
            (tmp_path / f"{split}.{lang}").write_text("".join(f"{t}\n" for t in texts))
    data = ["data=text_files", f"data.root={tmp_path}"]
    runs = [make_run(*data, f"data.lowercase={flag}") for flag in ("true", "false")]
    options = ["--json", "--samples", "9"]
    if not own_data:
        options += ["--src", str(tmp_path / "test.en"), "--ref", str(tmp_path / "test.de")]
    for first, second in (runs, runs[::-1]):
        assert main(["evaluate", str(first), str(second), *options]) == 0
        found = json.loads(capsys.readouterr().out)[0]["results"]
        for run, result in zip((first, second), found, strict=True):
            assert main(["evaluate", str(run), "--lowercase", *options[:1], *options[3:]]) == 0
            alone = json.loads(capsys.readouterr().out)[0]["results"][0]
            assert result == alone
    assert main(["evaluate", *map(str, runs), "--no-lowercase"]) == 2
    assert "only lower-cased text can be compared" in capsys.readouterr().err


def test_a_pipe_is_measured_as_a_file(evaluate, files, tmp_path):
    """As `--src <(zcat test.en.gz)` in a shell."""
    source = Path(files[1])
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(source.read_bytes()))
    writer.start()
    code, out, _ = evaluate("--src", pipe, *files[2:], "--json", "--quiet")
    writer.join()
    assert code == 0
    found, expected = (json.loads(x)[0]["results"][0] for x in (out, evaluate(*files, "--json")[1]))
    assert found == expected | {"name": str(pipe)}


def test_a_reader_that_leaves(tiny_run, files):
    command = [sys.executable, "-m", "minitf", "evaluate", str(tiny_run), "--quiet", *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.wait(60) == 141


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--src", "x"], "--src and --ref go together"),
        (["--src", "x", "--ref", "y", "--split", "test"], "not both"),
        (["--src", "no.en", "--ref", "no.de"], "no.en is not a file; . holds"),
        (["--split", "tset"], "--split tset: the run's data has train, val, test"),
        (["--limit", "0"], "--limit must be at least 1"),
        (["--limit", "2", "--tokenize", "14a"], "sacrebleu has no such tokenizer"),
        (["--limit", "2", "--tokenize", "spBLEU-1K"], "sacrebleu has no such tokenizer"),
        (["--limit", "2", "--samples", "9"], "--samples is of the bootstrap that compares two"),
        (["nowhere"], "nowhere does not exist"),
        (["other", "--samples", "0"], "--samples must be at least 1; received 0"),
        (["other", "--limit", "1"], "--limit must be at least 2 to compare two runs; received 1"),
        (["--translations", "no/where"], "--translations no/where: no such directory"),
        (["--split", "val", "--split", "test", "--translations", "x"], "takes one split"),
    ],
)
def test_what_is_wrong_takes_one_line(evaluate, arguments, message):
    code, out, err = evaluate(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_reference_is_not_overwritten(evaluate, tiny_run, files):
    before = Path(files[-1]).read_bytes()
    code, out, err = evaluate(*files, "--translations", files[-1])
    assert (code, out) == (2, "")
    assert "is the input: give another file" in err
    assert Path(files[-1]).read_bytes() == before


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full")
def test_translations_that_cannot_be_written_cost_no_score(evaluate, files, tmp_path):
    code, out, err = evaluate(*files, "--json", "--translations", "/dev/full")
    assert (code, json.loads(out)[0]["results"][0]["sentences"]) == (2, 6)
    assert err == "minitf: --translations /dev/full could not be written: No space left on device\n"
    code, out, err = evaluate(*files, "--translations", tmp_path)
    assert (code, out) == (2, "")
    assert f"--translations {tmp_path}: it is a directory" in err


@pytest.mark.parametrize("kind", ["text_files", "table"])
def test_the_runs_own_data_are_not_overwritten(capsys, make_run, sentences, tmp_path, kind):
    for lang, texts in zip(("en", "de"), zip(*sentences, strict=True), strict=True):
        for split in ("train", "val"):
            (tmp_path / f"{split}.{lang}").write_text("".join(f"{t}\n" for t in texts))
    table = tmp_path / "table.tsv"
    table.write_text("en\tde\n" + "".join(f"{s}\t{t}\n" for s, t in sentences))
    data = {
        "text_files": [f"data.root={tmp_path}", "data.tests=[]"],
        "table": [f"data.train={table}", f"data.val={table}", "data.src=en", "data.tgt=de"],
    }
    run = make_run(f"data={kind}", *data[kind])
    file = table if kind == "table" else tmp_path / "val.de"
    before = file.read_bytes()
    assert main(["evaluate", str(run), "--translations", str(file)]) == 2
    assert f"--translations {file} is the input: give another file" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_two_runs_are_measured_alike(evaluate, make_run, files, tmp_path):
    other = make_run("evaluation.tokenize=char", "evaluation.lowercase=true")
    code, out, _ = evaluate(other, *files, "--json", "--samples", 9)
    signatures = {r["signatures"]["bleu"] for r in json.loads(out)[0]["results"]}
    assert (code, len(signatures)) == (0, 1)
    one = tmp_path / "one"
    one.write_text("A dog.\n")
    code, _, err = evaluate(other, "--src", one, "--ref", one)
    assert (code, "has 1 sentence: comparing two runs takes 2" in err) == (2, True)


def test_files_of_different_length_are_refused(evaluate, files, tmp_path):
    (tmp_path / "test.de").write_text("nur eine Zeile\n")
    assert "has 6, " in evaluate(*files)[2]
