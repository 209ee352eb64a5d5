"""`minitf export` as a user runs it."""

import os
import signal
import subprocess
import sys

import pytest

import minitf
from minitf.commands import main
from minitf.commands.lines import one_line


def test_an_export_is_written_checked_and_used(tiny_run, tmp_path, capsys):
    output = tmp_path / "deep" / "model"
    assert main(["export", str(tiny_run), "--to", "safetensors", "--output", str(output)]) == 0
    told = capsys.readouterr().out
    assert f"wrote {output} from {tiny_run / 'checkpoints' / 'best.ckpt'}" in told
    assert "checked: largest difference of a logit 0.0e+00" in told
    assert sorted(path.name for path in output.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "tokenizer.json"
    ]  # fmt: skip
    text = "A small dog sleeps."
    assert main(["translate", str(output), "--text", text, "--quiet", "--device", "cpu"]) == 0
    expected = minitf.load(tiny_run, device="cpu").translate([text])[0]
    assert capsys.readouterr().out == one_line(expected) + "\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--to", "safetensors", "--output", "x"], "nowhere does not exist"),
        (["RUN", "--to", "gguf", "--output", "x"], "--to takes safetensors, transformers"),
        (["RUN", "--output", "x"], "the following arguments are required: --to"),
        (["RUN", "--to", "safetensors", "--output", "RUN"], "is there already"),
    ],
)
def test_what_is_wrong_takes_one_line(tiny_run, capsys, arguments, message):
    arguments = [str(tiny_run) if a == "RUN" else a for a in arguments]
    assert main(["export", *arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_export_that_is_ended_leaves_nothing(tiny_run, tmp_path, sent, code):
    program = (
        "import sys, time; from minitf.commands import main\n"
        "from minitf.export import to_safetensors\n"
        "def check(*_): print('written', flush=True); time.sleep(60)\n"
        "to_safetensors.check = check\n"
        "sys.exit(main())"
    )
    output = tmp_path / "model"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "export", str(tiny_run), "--to", "safetensors",
         "--output", str(output)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.stdout.readline() == "written\n"
    assert len(list(tmp_path.iterdir())) == 1  # aside
    process.send_signal(sent)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir())
