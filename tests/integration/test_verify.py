"""`minitf verify` from the outside."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from minitf.commands import main

_MINITF = "import sys; from minitf.commands import main; sys.exit(main())"

SMALL = [
    "data=letters", "steps=4", "batch_size=3", "model.embed_dim=14", "model.num_heads=2",
    "model.num_encoder_layers=1", "model.num_decoder_layers=1", "model.feedforward_dim=13",
    "logger=none",
]  # fmt: skip


def verify(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-c", _MINITF, "verify", *arguments],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_all_levels_end_with_a_certificate(tmp_path):
    done = verify(*SMALL, "dtype=float32", "out=cert", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "equivalent: custom against torch" in done.stdout
    report = json.loads((tmp_path / "cert" / "report.json").read_text())
    assert [level["level"] for level in report["levels"]] == [
        "op", "model", "training", "decoding", "properties",
    ]  # fmt: skip
    assert report["levels"][2]["verdict"] == "bit-identical"
    assert report["command"].startswith("minitf verify data=letters")
    assert "seed=0 threads=1" in report["command"]
    assert (tmp_path / "cert" / "report.html").stat().st_size > 20_000


def test_a_users_class_is_found_and_judged_where_the_command_is_run(tmp_path):
    (tmp_path / "mine.py").write_text(
        textwrap.dedent(
            """
            import torch

            class Attention(torch.nn.MultiheadAttention):
                def __init__(self, *args, forgets_padding=False, **kwargs):
                    super().__init__(*args, **kwargs)
                    self.forgets_padding = forgets_padding

                def forward(self, query, key, value, key_padding_mask=None, **options):
                    if self.forgets_padding:
                        key_padding_mask = None
                    return super().forward(query, key, value, key_padding_mask, **options)
            """
        )
    )
    options = ["candidate._target_=mine.Attention", "level=op", "dtype=float32", *SMALL]
    right = verify(*options, "out=right", cwd=tmp_path)
    assert right.returncode == 0, right.stdout + right.stderr
    assert "47 cases: 47 bit-identical" in right.stdout or "bit-identical: Op" in right.stdout
    wrong = verify(*options, "candidate.forgets_padding=true", "out=wrong", cwd=tmp_path)
    assert wrong.returncode == 1
    assert "not equivalent: mine.Attention(forgets_padding=True) against torch" in wrong.stdout
    assert "key_padding=bool or float" in wrong.stdout
    assert json.loads((tmp_path / "wrong" / "report.json").read_text())["exit_code"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["candidat=torch"], "verify has no key 'candidat'; did you mean candidate"),
        (["candidate._target_=no.Such"], "candidate._target_=no.Such: cannot import no "),
        (["--frobnicate"], "verify: unrecognized arguments: --frobnicate"),
        (["run=nowhere", "level=model"], "nowhere does not exist"),
        (["run=R", "model=tiny"], "run=R has a model and data of its own: leave model out"),
        (["run=R", "data=letters"], "run=R has a model and data of its own: leave data out"),
        (["out=/dev/null/x", "level=properties"], "/dev/null/x: Not a directory"),
        (["--self-test", "candidate=torch"], "--self-test plants its bugs into the custom"),
        (["model.positions=rotary", "level=model", *SMALL], "rotary"),
        (
            ["reference=custom", "reference.kernel=flex", "level=model", *SMALL],
            "the reference cannot be run: it raised AttentionError: kernel='flex'",
        ),
        (
            ["reference=custom", "reference.kernel=flex", "level=decoding", *SMALL],
            "the reference cannot be run: it raised AttentionError: kernel='flex'",
        ),
    ],
)
def test_what_cannot_run_ends_with_2_and_one_line(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["verify", *arguments]) == 2
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.strip().splitlines()) == 1


def test_a_trained_run_is_compared_with_its_own_weights(tiny_run, tmp_path):
    done = verify(
        f"run={tiny_run}", "level=model,decoding", "dtype=float32", "logger=none", "out=cert",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    levels = json.loads((tmp_path / "cert" / "report.json").read_text())["levels"]
    assert [level["level"] for level in levels] == ["model", "decoding"]


def test_a_trained_run_is_compared_with_its_attentions_options(make_run, tmp_path):
    run = make_run("+attention.add_bias_kv=true", "+attention.bias=false")
    done = verify(
        f"run={run}", "level=model", "dtype=float32", "logger=none", "out=cert", cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_module_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / "broken.py").write_text("class Attention(:\n")
    done = verify("candidate._target_=broken.Attention", cwd=tmp_path)
    assert done.returncode == 2
    assert "candidate._target_=broken.Attention: cannot import broken (SyntaxError" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_the_self_test_catches_every_bug_and_passes_what_is_right(tmp_path):
    done = verify("--self-test", *SMALL, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "40 of 40 planted bugs caught, 3 of 3 correct" in done.stdout


@pytest.mark.slow
def test_the_default_certificate_is_whole(tmp_path):
    done = verify("out=cert", cwd=tmp_path, WANDB_MODE="offline")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wandb sync" in done.stdout
    report = json.loads((tmp_path / "cert" / "report.json").read_text())
    training = [level for level in report["levels"] if level["level"] == "training"]
    assert [level["verdict"] for level in training] == ["bit-identical"] * 2
