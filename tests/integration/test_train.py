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
from typing import Any

import pytest
import torch
import yaml

from minitf.evaluation.checkpoints import find_weights
from minitf.training.command import main
from minitf.training.results import results_keys
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


def _wandb_run(directory: Path) -> dict[str, Any]:
    """The run that wandb's own reader finds in a directory."""
    wandb = Path(sys.executable).with_name("wandb")
    command = [str(wandb), "leet", "inspect", "--json", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    found: dict[str, Any] = next(r["run"] for r in records if r["type"] == "run")
    return found


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
    assert results.keys() == results_keys() | {"test"}  # which no other split may be called
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


@pytest.mark.parametrize(
    ("signum", "log_every", "between"), [(signal.SIGINT, 1, 0.1), (signal.SIGTERM, 7, 0.0)]
)
def test_an_interrupted_run_goes_on_as_if_never_stopped(
    train: Train, tmp_path: Path, signum: signal.Signals, log_every: int, between: float
) -> None:
    common = [
        "trainer.max_steps=200",
        "model.dropout=0.2",
        f"trainer.log_every_n_steps={log_every}",
    ]
    whole = train("run_dir=whole", *common)
    assert whole.returncode == 0, whole.stderr
    overrides = ["run_dir=parts", *common]
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
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) > 30 // log_every):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signum)
    time.sleep(between)
    process.send_signal(signum)  # as `timeout` and terminals may send it twice
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
    assert "changed" not in resumed.stdout
    _assert_same_run(tmp_path / "whole", tmp_path / "parts")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["outputs", "parts", "whole"]


def test_the_last_update_is_validated_and_saved(train: Train, tmp_path: Path) -> None:
    """And no result is lost in a locale that lacks the samples' ≠."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = train("run_dir=run", "trainer.max_steps=7", "trainer.val_check_interval=5",
                 env=ascii_only)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "reference ? " in done.stdout
    assert "reference ≠ " in (tmp_path / "run" / "samples.txt").read_text(encoding="utf-8")
    assert [int(r["step"]) for r in _metrics(tmp_path / "run") if r["val/loss"]] == [5, 7]
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 7


def test_the_best_validations_are_averaged_at_the_end(train: Train, tmp_path: Path) -> None:
    """The learning rate is far too high, so that the best of five are not the last."""
    done = train("run_dir=run", "evaluation.average_best=2", "trainer.val_check_interval=8",
                 "schedule=constant", "optimizer.lr=3")  # fmt: skip
    assert done.returncode == 0, done.stderr
    losses = [(float(r["val/loss"]), int(r["step"])) for r in _metrics(tmp_path / "run", "")
              if r["val/loss"]]  # fmt: skip
    steps = sorted(step for _, step in sorted(losses)[:2])
    assert len(losses) == 5
    assert steps != [32, 40]
    directory = tmp_path / "run" / "checkpoints"
    assert sorted(p.name for p in directory.glob("best-*")) == [f"best-{s:07d}.ckpt" for s in steps]
    parts = [torch.load(directory / f"best-{s:07d}.ckpt", weights_only=True) for s in steps]
    assert [part["global_step"] for part in parts] == steps
    average = torch.load(directory / "average.ckpt", weights_only=True)["state_dict"]
    for name, weight in average.items():
        mean = sum(part["state_dict"][name].double() for part in parts) / 2
        assert torch.equal(weight, mean.float())
    asked = find_weights(tmp_path / "run", "average:best:2").tensors
    assert all(torch.equal(average[f"model.{name}"], weight) for name, weight in asked.items())


def test_an_average_that_is_no_longer_asked_for_goes(train: Train, tmp_path: Path) -> None:
    """Else translate and evaluate would take it for what the run tested with."""
    done = train("run_dir=run", "evaluation.average_last=2")
    assert done.returncode == 0, done.stderr
    average = tmp_path / "run" / "checkpoints" / "average.ckpt"
    assert average.is_file()
    assert "average    of 2 checkpoints" in done.stdout
    longer = train("resume=run", "evaluation.average_last=0", "trainer.max_steps=50", toy=False)
    assert longer.returncode == 0, longer.stderr
    assert not average.exists()
    assert find_weights(tmp_path / "run").origin.endswith("best.ckpt")


def test_a_finished_run_can_be_made_longer(train: Train, tmp_path: Path) -> None:
    assert train("run_dir=whole", "trainer.max_steps=60").returncode == 0
    assert train("run_dir=parts").returncode == 0
    longer = train("resume=parts", "trainer.max_steps=60", toy=False)
    assert longer.returncode == 0, longer.stderr
    _assert_same_run(tmp_path / "whole", tmp_path / "parts", only="train/")


def test_the_last_checkpoint_is_the_last_state_whatever_the_loss(
    train: Train, tmp_path: Path
) -> None:
    """The learning rate is far too high: the best validation is not the last."""
    done = train("run_dir=run", "trainer.val_check_interval=8", "schedule=constant",
                 "optimizer.lr=3")  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps = {
        name: torch.load(tmp_path / "run" / "checkpoints" / f"{name}.ckpt", weights_only=True)[
            "global_step"
        ]
        for name in ("best", "last")
    }
    assert steps["best"] < steps["last"] == 40


def test_on_resume_what_can_change_does_and_the_rest_is_refused(
    train: Train, tmp_path: Path
) -> None:
    assert train("run_dir=run", "schedule=constant").returncode == 0
    config = (tmp_path / "run" / "config.yaml").read_text()
    for override, was in (
        ("model.embed_dim=32", "model.embed_dim was 16"),
        ("batching.tokens=128", "batching.tokens was 256"),
        ("optimizer=adam", "optimizer.name was adamw"),
        ("seed=2", "seed was 1"),
    ):
        refused = train("resume=run", override, toy=False)
        assert refused.returncode == 2
        assert re.fullmatch(f"error: {was} in run and cannot change on .*\n", refused.stderr)
    refused = train("resume=run", "trainer.max_steps=39", toy=False)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: trainer.max_steps=39 is fewer than the 40 updates")
    refused = train("resume=run", "+attention.add_bias_kv=true", "trainer.max_steps=41", toy=False)
    assert refused.returncode == 2
    assert re.fullmatch("error: .*last.ckpt holds other weights than .*\n", refused.stderr)
    assert (tmp_path / "run" / "config.yaml").read_text() == config

    longer = train("resume=run", "trainer.max_steps=50", "optimizer.lr=2e-4",
                   "optimizer.weight_decay=0.5", "evaluation.decoding.beam_size=3",
                   toy=False)  # fmt: skip
    assert longer.returncode == 0, longer.stderr
    changed = [line.split()[1:] for line in longer.stdout.splitlines() if "changed " in line]
    assert [words[0] for words in changed] == [
        "optimizer.lr=0.0002,", "optimizer.weight_decay=0.5,", "evaluation.decoding.beam_size=3,",
        "trainer.max_steps=50,",
    ]  # fmt: skip
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["evaluation"]["decoding"]["method"] == "beam"  # as the beam's size implies
    assert changed[0][1:] == ["it", "was", "0.001"]
    rates = {int(r["step"]): r["train/lr"] for r in _metrics(tmp_path / "run") if r["train/lr"]}
    assert [float(rates[step]) for step in (40, 41, 50)] == [1e-3, 2e-4, 2e-4]
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    groups = last["optimizer_states"][0]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]


def test_a_sweeps_bad_value_does_not_keep_the_others_back(train: Train, tmp_path: Path) -> None:
    done = train("-m", "seed=1,-1,2", "run_dir=sweep", "trainer.max_steps=2")
    assert done.returncode == 2
    assert "error: 1 of the sweep's runs failed: " in done.stderr
    assert done.stderr.endswith("seed=-1\n")
    assert "Traceback" not in done.stderr
    found = [(tmp_path / "sweep" / job / "results.json").is_file() for job in "012"]
    assert found == [True, False, True]
    table = done.stdout.partition("the sweep's runs")[2]
    named = [line.replace("│", " ").split() for line in table.splitlines() if "seed=" in line]
    ends = [("seed=1", "sweep/0"), ("seed=2", "sweep/2"), ("seed=-1", "failed")]
    assert [(line[0], line[-1]) for line in named] == ends
    for line in named[:2]:
        scores = json.loads((tmp_path / line[-1] / "results.json").read_text())
        first = next(iter(scores.values()))
        assert line[1:3] == [f"{first['loss']:.4f}", f"{first['bleu']:.2f}"]


def test_a_sweep_is_two_runs_of_one_group(train: Train, tmp_path: Path) -> None:
    done = train("-m", "attention=custom,torch", "run_dir=sweep", "logger=wandb")
    assert done.returncode == 0, done.stderr
    _assert_same_run(tmp_path / "sweep" / "0", tmp_path / "sweep" / "1", only="train/")
    runs = [_wandb_run(tmp_path / "sweep" / job / "wandb") for job in ("0", "1")]
    assert {run["run_group"] for run in runs} == {"sweep"}
    assert "attention=custom" in runs[0]["display_name"]
    assert "attention=torch" in runs[1]["display_name"]
    assert len({run["run_id"] for run in runs}) == 2
    targets = [run["config"]["update"]["attention"]["_target_"] for run in runs]
    assert targets == ["minitf.attention.MultiHeadAttention", "torch.nn.MultiheadAttention"]


def test_keys_of_the_runs_own_data_can_be_changed_on_resume(train: Train, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for lang in ("en", "de"):
        for name in ("train", "val"):
            (tmp_path / "here" / f"{name}.{lang}").write_text("a b\nb a b\n" * 20)
    small = [option for option in TOY if not option.startswith("data")]
    data = ["data=text_files", "data.root=here", "data.tests=[]", "run_dir=run"]
    options = [*small, "trainer.val_check_interval=1", "trainer.max_steps=2"]
    assert train(*options, *data, toy=False).returncode == 0
    (tmp_path / "here").rename(tmp_path / "there")
    resume = ["resume=run", "trainer.max_steps=4"]
    done = train(*resume, "data.root=there", "data.tgt=fr", toy=False)
    assert done.returncode == 2
    assert re.search(f"no file {tmp_path}/there/(val|train).fr", done.stderr)
    config = (tmp_path / "run" / "config.yaml").read_text()
    for lang in ("en", "de"):
        (tmp_path / "there" / f"other.{lang}").write_text("a b\nb a a\n" * 20)
    done = train(*resume, "data.root=there", "data.train=other", toy=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the training data are not those that the run was trained")
    assert (tmp_path / "run" / "config.yaml").read_text() == config
    done = train(*resume, "data.root=there", toy=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "results.json").read_text())["updates"] == 4


def test_a_run_of_a_folder_with_a_german_name_goes_on_from_anywhere(
    train: Train,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without a validation, too, which else writes the checkpoint; profiled on the way."""
    (tmp_path / "größe").mkdir()
    for lang in ("en", "de"):
        (tmp_path / "größe" / f"train.{lang}").write_text("a b\nb a b\n" * 20 + "a" * 99 + "\n")
        (tmp_path / "größe" / f"val.{lang}").write_text("a b\n")
    small = [option for option in TOY if not option.startswith("data")]
    options = ["data=text_files", "data.root=größe", "data.tests=[]", "batching.long_pairs=skip",
               "batching.max_length=9", "trainer.limit_val_batches=0", "trainer.max_steps=2",
               "trainer.profiler=simple", "run_dir=run"]  # fmt: skip
    done = train(*small, *options, toy=False)
    assert done.returncode == 0, done.stderr
    assert "40 training pairs (1 too long left out), 1 validation, vocabulary" in done.stdout
    assert "run_training_batch" in (tmp_path / "run" / "fit-profile.txt").read_text()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "argv", ["train.py", "resume=../run", "trainer.max_steps=4"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    main()
    assert "changed    trainer.max_steps=4, it was 2" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "results.json").read_text())["updates"] == 4
