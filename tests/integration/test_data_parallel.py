"""Two processes train what one would: tokens count alike wherever their batch falls."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.integration.conftest import TOY, TRAIN, Train

OVERRIDES = (
    "model.dropout=0.0",
    "trainer.precision=64-true",
    "trainer.max_steps=6",
    "trainer.val_check_interval=6",
    "data.train_size=800",  # 50 batches: one process cuts them as two do
    "batching.tokens=null",
    "batching.sentences=16",
    "trainer.accelerator=cpu",
)


def _weights(run_dir: Path) -> dict[str, torch.Tensor]:
    path = run_dir / "checkpoints" / "last.ckpt"
    return torch.load(path, map_location="cpu", weights_only=True)["state_dict"]


def _losses(run_dir: Path) -> list[float]:
    with (run_dir / "metrics.csv").open(newline="") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def _tokens(run_dir: Path) -> float:
    results = json.loads((run_dir / "results.json").read_text())
    return float(results["tokens_per_second"] * results["train_seconds"])


def test_two_processes_equal_two_micro_batches_of_one(train: Train, tmp_path: Path) -> None:
    one = train(*OVERRIDES, "run_dir=one", "trainer.accumulate_grad_batches=2")
    assert one.returncode == 0, one.stderr
    two = train(*OVERRIDES, "run_dir=two", "trainer.devices=2", "trainer.strategy=ddp")
    assert two.returncode == 0, two.stderr
    assert _losses(tmp_path / "one") == pytest.approx(_losses(tmp_path / "two"), rel=1e-12)
    first, second = _weights(tmp_path / "one"), _weights(tmp_path / "two")
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-10, atol=1e-12)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "outputs", "two"]


def test_two_processes_resume_exactly_whoever_starts_them(train: Train, tmp_path: Path) -> None:
    parallel = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.accelerator=cpu")
    parallel = (*parallel, "trainer.log_every_n_steps=7")  # which 20 is no multiple of
    assert train(*parallel, "run_dir=whole", "trainer.max_steps=40").returncode == 0
    first = train(*parallel, "run_dir=parts", "trainer.max_steps=20")
    assert first.returncode == 0, first.stderr
    rest = train("resume=parts", "trainer.max_steps=40", toy=False)
    assert rest.returncode == 0, rest.stderr
    one, two = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert _losses(tmp_path / "whole") == _losses(tmp_path / "parts")
    tokens = [_tokens(tmp_path / name) for name in ("whole", "parts")]
    assert tokens[0] == pytest.approx(tokens[1], rel=2e-3)

    assert "other batches" not in rest.stdout
    alone = ("trainer.devices=1", "trainer.strategy=auto", "trainer.max_steps=45")
    fewer = train("resume=parts", *alone, toy=False)
    assert fewer.returncode == 0, fewer.stderr
    assert "the data fall into other batches than before" in fewer.stdout

    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(TRAIN)]
    done = subprocess.run(
        [sys.executable, *torchrun, *TOY, *parallel, "run_dir=torchrun"],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test results") == 1
    assert "sync_dist" not in done.stderr
    three = _weights(tmp_path / "torchrun")
    assert all(torch.equal(one[name], three[name]) for name in one)


def test_torchrun_needs_a_directory_for_all(train: Train, tmp_path: Path) -> None:
    started = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
    refused = train(env=started)
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: under torchrun the processes need one directory: give")
    assert not list(tmp_path.iterdir())
