"""minitf's whole fit: the Lightning run that `python train.py` starts, stopped between updates."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from omegaconf import OmegaConf

from minitf.bench.rounds import Rounds
from minitf.bench.task import TrainingTask, load_batches, num_parameters, synchronize
from minitf.config.compose import typed
from minitf.training.run import train

_turns: list["Turns"] = []
"""The one that this process' configuration names; a configuration cannot hold an object."""


def run(rounds: Rounds, config: dict[str, Any], task: dict[str, Any]) -> None:
    """A worker's function: `train(config)`, whose updates wait for the parent's word.

    Args:
        rounds: the parent's word.
        config: a whole configuration, as plain values.
        task: what the other implementations do; its batches are those that the fit comes upon.
    """
    settings = typed(OmegaConf.create(config))
    settings.run_dir = "run"
    settings.callbacks = {"turns": {"_target_": f"{__name__}.turns"}}
    _turns.append(Turns(rounds, task))
    try:
        train(settings)
    except _Enough:
        return


def turns() -> "Turns":
    """The callback of this process."""
    return _turns[0]


class Turns(Callback):
    """Reports at a round's end, which is when the next batch is there, and waits for its turn."""

    def __init__(self, rounds: Rounds, task: dict[str, Any]) -> None:
        self._rounds, self._task = rounds, TrainingTask(**task)
        self._batches = load_batches(self._task)
        self._number: int | None = None
        self._seen = self._tokens = 0
        self._start = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """All is built."""
        self._rounds.ready(parameters=num_parameters(pl_module))

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Between rounds, report and wait."""
        if self._seen % self._task.steps == 0:
            if self._number is not None:
                synchronize(self._task)
                seconds = time.perf_counter() - self._start
                expected = sum(b.tokens for b in self._batches[self._number])
                assert self._tokens == expected, "the fit got other batches than the bare loops"
                self._rounds.report(seconds=seconds, tokens=self._tokens)
            self._number = self._rounds.wait()
            if self._number is None:
                raise _Enough
            self._tokens = 0
            synchronize(self._task)
            self._start = time.perf_counter()
        self._seen += 1
        self._tokens += batch.num_target_tokens


class _Enough(Exception):  # noqa: N818 - not an error
    """The parent wants no more rounds."""
