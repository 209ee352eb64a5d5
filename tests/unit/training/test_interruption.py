"""A signal ends a run between two updates, whenever it comes."""

import signal
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from minitf.training.callbacks import Interrupted, Interruption


class Strategy:
    """One process."""

    def reduce_boolean_decision(self, decision: bool, all: bool) -> bool:
        assert not all
        return decision


@pytest.fixture
def trainer() -> Iterator[Any]:
    """A trainer after its fifth update; the signals' handlers are put back at the end."""
    before = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}
    loop = SimpleNamespace(
        _num_ready_batches_reached=lambda: False, _should_check_val_fx=lambda fetcher: False
    )
    fit_loop = SimpleNamespace(epoch_loop=loop, _data_fetcher=object())
    yield SimpleNamespace(global_step=5, world_size=1, strategy=Strategy(), fit_loop=fit_loop)
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_after_the_last_update_too(trainer: Any, signum: signal.Signals) -> None:
    saved: list[int] = []
    interruption = Interruption(lambda: saved.append(trainer.global_step))
    interruption.on_train_start(trainer, trainer)
    trainer.global_step = 6
    interruption.on_train_batch_end(trainer, trainer, None, None, 0)
    signal.raise_signal(signum)  # during the last validation, which saves
    with pytest.raises(Interrupted) as stopped:
        interruption.on_train_end(trainer, trainer)
    assert saved == []
    assert stopped.value.exit_code == 128 + signum


def test_one_that_comes_twice_is_one(trainer: Any) -> None:
    interruption = Interruption(lambda: None)
    interruption.on_train_start(trainer, trainer)
    signal.raise_signal(signal.SIGINT)
    trainer.global_step = 6
    with pytest.raises(Interrupted) as stopped:
        interruption.on_train_batch_end(trainer, trainer, None, None, 0)
    interruption.on_exception(trainer, trainer, stopped.value)
    signal.raise_signal(signal.SIGTERM)  # either would end the process, or raise
    signal.raise_signal(signal.SIGINT)


def test_signals_are_given_back(trainer: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    interruption = Interruption(lambda: None)
    for end in (
        lambda: interruption.on_train_end(trainer, trainer),
        lambda: interruption.on_exception(trainer, trainer, ValueError()),
    ):
        interruption.on_train_start(trainer, trainer)
        assert signal.getsignal(signal.SIGTERM) != before
        end()
        assert signal.getsignal(signal.SIGTERM) == before
