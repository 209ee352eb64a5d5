"""Runs of `python train.py` as a user starts them, in an empty folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minitf.training.command import main

TRAIN = Path(__file__).parents[2] / "train.py"
TOY = [
    "data=reverse",
    "data.train_size=600",
    "data.val_size=20",
    "data.test_size=20",
    "data.max_length=5",
    "tokenizer=char",
    "model.embed_dim=16",
    "model.feedforward_dim=32",
    "model.num_encoder_layers=1",
    "model.num_decoder_layers=1",
    "batching.tokens=256",
    "trainer.max_steps=40",
    "trainer.val_check_interval=20",
    "trainer.log_every_n_steps=1",
    "schedule=inverse_sqrt",
    "schedule.warmup_steps=10",
    "optimizer.lr=1e-3",
    "evaluation.val_bleu_sentences=5",
    "evaluation.samples=2",
    "logger=csv",
]
"""A run of seconds through every stage."""

Train = Callable[..., subprocess.CompletedProcess[str]]
Run = Callable[..., int]


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """`train(*overrides, env=…)` runs the toy configuration with overrides, as another process."""

    def run(
        *overrides: str,
        toy: bool = True,
        env: dict[str, str] | None = None,
        timeout: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(TRAIN), *(TOY if toy else []), *overrides]
        return subprocess.run(
            command,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run(*overrides)` is `python train.py` in this process; its exit code."""
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # main sets it: let pytest take it back

    def call(*overrides: str) -> int:
        monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
        try:
            main()
        except SystemExit as ended:
            return int(ended.code or 0)
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
        return 0

    return call
