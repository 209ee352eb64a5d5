"""`last.ckpt` by the clock: after whole updates only."""

from types import SimpleNamespace
from typing import Any

from minitf.training.callbacks import Autosave


def test_it_saves_after_whole_updates_when_it_is_time() -> None:
    saved: list[int] = []
    due = set[int]()
    loop = SimpleNamespace(
        _num_ready_batches_reached=lambda: trainer.global_step in due,
        _should_check_val_fx=lambda fetcher: False,
    )
    fit_loop = SimpleNamespace(epoch_loop=loop, _data_fetcher=object())
    trainer: Any = SimpleNamespace(global_step=5, world_size=1, fit_loop=fit_loop)
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
    patient = Autosave(lambda: saved.append(0), seconds=1e9)
    patient.on_train_start(trainer, trainer)
    trainer.global_step = 10
    patient.on_train_batch_end(trainer, trainer, None, None, 0)
    assert saved == [6, 7, 9]
