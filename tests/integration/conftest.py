"""Runs of `python train.py` as a user starts them: a process of its own, in an empty folder."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """`train(*overrides, env=…)` runs the toy configuration with overrides in an empty folder."""

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
