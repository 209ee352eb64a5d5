"""`python train.py` from the outside: what it writes, says, resumes and refuses."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from tests.integration.conftest import TOY, TRAIN, Train


def _metrics(run_dir: Path, only: str = "") -> list[dict[str, str]]:
    """The rows of metrics.csv without what a clock decides."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    chosen = [
        {k: v for k, v in row.items() if k.startswith(only) and k != "train/tokens_per_second"}
        for row in rows
    ]
    return [row for row in chosen if any(row.values())]


def _weights(run_dir: Path) -> dict[str, torch.Tensor]:
    path = run_dir / "checkpoints" / "last.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


def _assert_same_run(first: Path, second: Path, only: str = "") -> None:
    assert _metrics(first, only) == _metrics(second, only)
    one, two = _weights(first), _weights(second)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_leaves_everything_that_belongs_to_it(train: Train, tmp_path: Path) -> None:
    done = train("logger=wandb")
    assert done.returncode == 0, done.stderr
    run_dir = (tmp_path / "outputs" / "latest").resolve()
    for name in (
        "config.yaml",
        "tokenizer.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "metrics.csv",
        "results.json",
        "samples.txt",
        "figures/curves.png",
        "figures/attention.png",
    ):
        assert (run_dir / name).stat().st_size > 0, name
    assert list((run_dir / "wandb").glob("offline-run-*/*.wandb"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["outputs"]

    results = json.loads((run_dir / "results.json").read_text())
    assert {"loss", "bleu", "chrf", "exact_match"} <= results["test"].keys()
    assert results["updates"] == 40
    assert results["train_seconds"] > 0
    assert results["tokens_per_second"] > 0
    assert results["device"]
    assert results["torch"] == torch.__version__
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert config["model"]["embed_dim"] == 16
    rows = _metrics(run_dir)
    assert [int(r["step"]) for r in rows if r["train/loss"]] == list(range(1, 41))
    assert [int(r["step"]) for r in rows if r["val/loss"]] == [20, 40]

    assert "test results" in done.stdout
    assert "nrefs:1|case:mixed" in done.stdout
    assert done.stdout.count("translation ") == 2
    assert "wandb leet outputs/" in done.stdout
    assert "Warning" not in done.stderr


def test_the_swap_of_attention_changes_no_bit(train: Train, tmp_path: Path) -> None:
    for name in ("custom", "torch"):
        done = train(f"attention={name}", f"run_dir={name}", "model.dropout=0.1")
        assert done.returncode == 0, done.stderr
    # Evaluation is left out: torch's module has another kernel there (its fast path).
    _assert_same_run(tmp_path / "custom", tmp_path / "torch", only="train/")
    samples = [(tmp_path / name / "samples.txt").read_text() for name in ("custom", "torch")]
    assert samples[0] == samples[1]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_as_if_never_stopped(
    train: Train, tmp_path: Path, signum: signal.Signals
) -> None:
    whole = train("run_dir=whole", "trainer.max_steps=200", "model.dropout=0.2")
    assert whole.returncode == 0, whole.stderr
    overrides = ["run_dir=parts", "trainer.max_steps=200", "model.dropout=0.2"]
    process = subprocess.Popen(
        [sys.executable, str(TRAIN), *TOY, *overrides],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "parts" / "metrics.csv"
    deadline = time.monotonic() + 120
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) > 30):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signum)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + signum, err
    stopped = re.search(r"stopped after update (\d+) \((\w+)\); go on with: (.*)", out)
    assert stopped, out
    assert 20 < int(stopped[1]) < 200
    assert stopped[2] == signum.name
    assert stopped[3] == "python train.py resume=parts"
    assert "Traceback" not in err

    resumed = train("resume=parts", toy=False)
    assert resumed.returncode == 0, resumed.stderr
    _assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["outputs", "parts", "whole"]


def test_a_finished_run_can_be_made_longer(train: Train, tmp_path: Path) -> None:
    assert train("run_dir=whole", "trainer.max_steps=60").returncode == 0
    assert train("run_dir=parts").returncode == 0
    longer = train("resume=parts", "trainer.max_steps=60", toy=False)
    assert longer.returncode == 0, longer.stderr
    _assert_same_run(tmp_path / "whole", tmp_path / "parts", only="train/")


def test_a_sweep_is_two_runs_of_one_group(train: Train, tmp_path: Path) -> None:
    done = train("-m", "attention=custom,torch", "run_dir=sweep", "logger=wandb")
    assert done.returncode == 0, done.stderr
    _assert_same_run(tmp_path / "sweep" / "0", tmp_path / "sweep" / "1", only="train/")
    identities = set()
    for job in ("0", "1"):
        inspected = subprocess.run(
            ["wandb", "leet", "inspect", "--json", str(tmp_path / "sweep" / job / "wandb")],
            capture_output=True, text=True, env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        )  # fmt: skip
        identities.add((tmp_path / "sweep" / job / "wandb" / "run_id").read_text())
        del inspected
    assert len(identities) == 2


def test_a_run_directory_is_not_written_over(train: Train) -> None:
    assert train("run_dir=one", "trainer.max_steps=2").returncode == 0
    again = train("run_dir=one", "trainer.max_steps=2")
    assert again.returncode == 2
    assert re.fullmatch(r"error: .*one holds a run already; choose another run_dir, .*\n", again.stderr)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["modl=tiny"], "there is no key or group 'modl'; did you mean model?"),
        (["model.num_heads=3"], "model.embed_dim must be a multiple of model.num_heads"),
        (["trainer.precision=float12"], "trainer: Precision 'float12' is invalid"),
        (["+trainer.max_stepz=3"], "trainer has no key 'max_stepz'; did you mean max_steps?"),
        (["attention._target_=my.Attention"], "my.Attention"),
        (["resume=nowhere"], "resume=nowhere: no such run directory"),
        (["schedule=cosine", "trainer.max_steps=-1", "trainer.max_epochs=-1"], "run's end"),
        (["data.train_size=0"], "train_size"),
    ],
)
def test_a_mistake_ends_with_one_line(train: Train, overrides: list[str], message: str) -> None:
    done = train(*overrides)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert message in done.stderr


def test_help_lists_groups_and_examples(train: Train) -> None:
    done = train("--help", toy=False)
    assert done.returncode == 0
    assert "attention: custom, torch" in done.stdout
    assert "python train.py resume=outputs/latest" in done.stdout
    assert "schema" not in done.stdout
