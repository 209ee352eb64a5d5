"""`last.ckpt` by the clock: after whole updates only."""

from types import SimpleNamespace
from typing import Any

from minitf.training.callbacks import Autosave


def test_it_saves_after_whole_updates_when_it_is_time() -> None:
    saved: list[int] = []
    trainer: Any = SimpleNamespace(global_step=5, world_size=1)
    autosave = Autosave(lambda: saved.append(trainer.global_step), seconds=0.0)
    autosave.on_train_start(trainer, trainer)
    for step in (5, 5, 6, 6, 6, 7):
        trainer.global_step = step
        autosave.on_train_batch_end(trainer, trainer, None, None, 0)
    assert saved == [6, 7]
    patient = Autosave(lambda: saved.append(0), seconds=1e9)
    patient.on_train_start(trainer, trainer)
    trainer.global_step = 8
    patient.on_train_batch_end(trainer, trainer, None, None, 0)
    assert saved == [6, 7]
