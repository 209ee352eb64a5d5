"""Wherever a signal stops a run, no validation, no checkpoint and no score is lost."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from tests.integration.conftest import TOY, Run
from tests.integration.test_bit_identical_runs import numbers


class SignalAt(Callback):
    """Sends Ctrl-C during an update."""

    def __init__(self, update: int) -> None:
        self.update = update

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Send it."""
        if trainer.global_step == self.update:
            os.kill(os.getpid(), signal.SIGINT)


EPOCHS = [
    "data.train_size=200", "trainer.check_val_every_n_epoch=1", "trainer.val_check_interval=null",
    "evaluation.average_last=2", "trainer.log_every_n_steps=3",
]  # fmt: skip
SELDOM = ["data.train_size=200", "trainer.val_check_interval=100"]
"""No validation where an epoch ends."""
LENGTHS = [
    "tokenizer=bpe", "tokenizer.vocab_size=300", "tokenizer.dropout=0.4", "data.train_size=150",
    "batching.tokens=128", "trainer.max_steps=-1", "trainer.max_epochs=3", "schedule=cosine",
    "trainer.val_check_interval=1000",
]  # fmt: skip
"""Epochs of other lengths, by the first of which the schedule goes."""
UPDATES = ["trainer.val_check_interval=10", "evaluation.average_best=2"]
EACH = ["data.train_size=16", "trainer.val_check_interval=1", "evaluation.average_best=2"]
"""Epochs of one batch, with a validation each."""
CUT = [
    "tokenizer=bpe", "tokenizer.vocab_size=300", "tokenizer.dropout=0.2",
    "trainer.limit_train_batches=5", "trainer.max_steps=23",
]  # fmt: skip
"""Epochs of five batches, whose words are cut anew in each."""


@pytest.mark.parametrize(
    ("overrides", "stops"),
    [
        (EPOCHS, [(1, 0), (0, 40)]),
        (UPDATES, [(0, 10), (0, 40)]),
        (EACH, [(0, 7)]),
        (CUT, [(0, 7), (2, 0)]),
        (SELDOM, [(1, 0)]),
        (LENGTHS, [(0, 25)]),
    ],
    ids=["epochs", "updates", "each", "cut", "seldom", "lengths"],
)
def test_a_run_goes_on_as_if_never_stopped(
    run: Run, tmp_path: Path, overrides: list[str], stops: list[tuple[int, int]]
) -> None:
    """Stopped so many epochs and updates after its start."""
    common = [*TOY, *overrides, "model.dropout=0.1"]
    assert run(*common, "run_dir=whole") == 0
    batches = _batches_of_an_epoch(tmp_path / "whole")
    for epochs, updates in stops:
        update = epochs * batches + updates
        directory = f"stopped-{update}"
        stop = f"+callbacks.stop={{_target_:{__name__}.SignalAt,update:{update}}}"
        assert run(*common, f"run_dir={directory}", stop) == 128 + signal.SIGINT
        last = torch.load(tmp_path / directory / "checkpoints" / "last.ckpt", weights_only=True)
        assert last["global_step"] == update
        assert run(f"resume={directory}", "+callbacks.stop=null") == 0
        assert _left(tmp_path / directory) == _left(tmp_path / "whole")


def _batches_of_an_epoch(run_dir: Path) -> int:
    last = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    loops = last["loops"]["fit_loop"]
    batches = loops["epoch_loop.batch_progress"]["total"]["completed"]
    left = loops["epoch_loop.batch_progress"]["current"]["completed"]
    return int((batches - left) // max(1, loops["epoch_progress"]["total"]["processed"]))


def _left(run_dir: Path) -> tuple[Any, ...]:
    """Everything that a run leaves, times aside."""
    checkpoints = {
        path.name: torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        for path in sorted((run_dir / "checkpoints").iterdir())
    }
    weights = {
        f"{name}/{key}": value.tolist()
        for name, state in checkpoints.items()
        for key, value in state.items()
    }
    results = json.loads((run_dir / "results.json").read_text())
    return numbers(run_dir / "metrics.csv"), results["test"], weights
