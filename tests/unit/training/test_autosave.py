"""`last.ckpt`: after whole updates only, and never where something else is due first."""

from types import SimpleNamespace
from typing import Any

import pytest

from minitf.training.callbacks import Autosave


@pytest.fixture
def due() -> set[int]:
    """The updates that end an epoch."""
    return set()


@pytest.fixture
def trainer(due: set[int]) -> Any:
    """Also the module."""
    loop = SimpleNamespace(
        _num_ready_batches_reached=lambda: trainer.global_step in due,
        _should_check_val_fx=lambda fetcher: False,
    )
    trainer = SimpleNamespace(
        global_step=5, world_size=1, should_stop=False, sanity_checking=False, mid_update=False,
        fit_loop=SimpleNamespace(epoch_loop=loop, _data_fetcher=object(), _can_stop_early=True),
        max_steps=-1, max_epochs=-1, current_epoch=0, state=SimpleNamespace(fn="fit"),
    )  # fmt: skip
    return trainer


def test_it_saves_after_whole_updates_when_it_is_time(trainer: Any, due: set[int]) -> None:
    saved: list[int] = []
    autosave = Autosave(lambda: saved.append(trainer.global_step), seconds=0.0)
    autosave.on_train_start(trainer, trainer)
    for step in (5, 5, 6, 6, 6, 7):
        trainer.global_step = step
        autosave.on_train_batch_end(trainer, trainer, None, None, 0)
    assert saved == [6, 7]
    due.add(8)  # the epoch ends: what follows would be left out on resume
    for step in (8, 9):
        trainer.global_step = step
        autosave.on_train_batch_end(trainer, trainer, None, None, 0)
    assert saved == [6, 7, 9]


def test_the_last_update_is_saved_whatever_the_clock(trainer: Any) -> None:
    saved: list[int] = []
    autosave = Autosave(lambda: saved.append(trainer.global_step), seconds=1e9)
    autosave.on_train_start(trainer, trainer)
    for step, trainer.should_stop in ((6, False), (7, True)):
        trainer.global_step = step
        autosave.on_train_batch_end(trainer, trainer, None, None, 0)
    assert saved == [7]


def test_a_stop_that_is_put_off_saves_nothing(trainer: Any) -> None:
    """As with min_epochs: Lightning trains on, and the stop stays asked for."""
    saved: list[int] = []
    autosave = Autosave(lambda: saved.append(trainer.global_step), seconds=1e9)
    autosave.on_train_start(trainer, trainer)
    trainer.should_stop, trainer.fit_loop._can_stop_early, trainer.max_steps = True, False, 8
    for trainer.global_step in (6, 7, 8):
        autosave.on_train_batch_end(trainer, trainer, None, None, 0)
    assert saved == [8]


def test_a_validation_is_saved_once_the_epoch_is_counted(trainer: Any, due: set[int]) -> None:
    saved: list[int] = []
    autosave = Autosave(lambda: saved.append(trainer.global_step), seconds=1e9)
    autosave.on_train_start(trainer, trainer)
    due.update({7, 9, 11})
    for trainer.global_step, trainer.mid_update in ((6, False), (7, False), (8, True)):
        autosave.on_validation_end(trainer, trainer)
    assert saved == [6]
    for trainer.global_step in (7, 9):  # the second epoch ends without a validation
        autosave.on_train_epoch_end(trainer, trainer)
    assert saved == [6, 7]
    trainer.global_step, trainer.should_stop = 10, True  # in the middle of an epoch
    autosave.on_train_epoch_end(trainer, trainer)
    trainer.global_step = 11
    autosave.on_train_epoch_end(trainer, trainer)
    assert saved == [6, 7, 11]
