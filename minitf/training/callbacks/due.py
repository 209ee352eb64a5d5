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


def limit_is_reached(trainer: Trainer) -> bool:
    """Whether max_steps or max_epochs allow no further update."""
    if 0 < trainer.max_steps <= trainer.global_step:
        return True
    epochs = trainer.max_epochs
    return epochs is not None and 0 < epochs <= trainer.current_epoch + 1 and epoch_ends(trainer)


def run_ends(trainer: Trainer) -> bool:
    """Whether no update follows; a stop that min_steps or min_epochs puts off does not end it."""
    told_to = trainer.should_stop and trainer.fit_loop._can_stop_early
    return bool(told_to) or limit_is_reached(trainer)
