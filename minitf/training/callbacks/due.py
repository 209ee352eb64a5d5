"""What Lightning does after a batch: a checkpoint in between would make it skip that on resume."""

from lightning.pytorch import Trainer


def epoch_ends(trainer: Trainer) -> bool:
    """Whether the present batch is the epoch's last."""
    return bool(trainer.fit_loop.epoch_loop._num_ready_batches_reached())


def something_is_due(trainer: Trainer) -> bool:
    """Whether the present batch is followed by a validation or the epoch's end."""
    fetcher = trainer.fit_loop._data_fetcher
    assert fetcher is not None  # there is a batch
    validates = trainer.fit_loop.epoch_loop._should_check_val_fx(fetcher)
    return bool(validates) or epoch_ends(trainer)
