"""Training metrics: loss, learning rate, gradient norm and tokens per second."""

import time
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from minitf.training.checks import check_finite
from minitf.training.loggers import RunCsvLogger

if TYPE_CHECKING:
    from minitf.training.module import TranslationModule


class Monitor(Callback):
    """Logs once every `every_n_updates`, and waits for the device only then.

    Logged are the means since the last time: `train/loss` (the objective) and `train/nll`, in nats
    a target token; `train/lr` and `train/grad_norm` (before clipping) of the last update;
    `train/tokens_per_second`, target tokens without padding, over all devices; the time is all but
    validation's, so it counts the writing of checkpoints.

    Args:
        every_n_updates: how often; `trainer.log_every_n_steps`.

    Attributes:
        train_seconds: time spent in training, validation left out, over all parts of a run.
        train_tokens: target tokens trained on, over all devices and parts of a run.
        latest: what was logged last.
    """

    def __init__(self, every_n_updates: int) -> None:
        self._every = every_n_updates
        self.train_seconds = 0.0
        self.train_tokens = 0
        self.latest: dict[str, float] = {}
        self._since: float | None = None
        self._window_seconds = 0.0
        self._logged_step: int | None = None
        self._lr = 0.0
        self._epoch = 0  # of the last batch: at the end Lightning has counted on

    def state_dict(self) -> dict[str, Any]:
        """The totals of the run so far."""
        if self._since is not None:  # the clock runs: up to now
            self._pause_clock()
            self._resume_clock()
        return {
            "train_seconds": self.train_seconds,
            "train_tokens": self.train_tokens,
            "window_seconds": self._window_seconds,
            "logged_step": self._logged_step,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.train_seconds = state_dict["train_seconds"]
        self.train_tokens = state_dict["train_tokens"]
        self._window_seconds = state_dict["window_seconds"]
        self._logged_step = state_dict["logged_step"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        if self._logged_step is None:
            self._logged_step = trainer.global_step
        for logger in trainer.loggers:  # of an earlier end, which is no end any more
            if isinstance(logger, RunCsvLogger):
                logger.experiment.drop_training_after(self._logged_step)
        self._resume_clock()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._pause_clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start it again, unless this validation stands alone."""
        if trainer.state.fn == "fit":
            self._resume_clock()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what is left and stop the clock."""
        self._log(trainer)
        self._pause_clock()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        """Note the learning rate: when the update is logged the schedule has gone on."""
        self._lr = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log if it is time to."""
        self._epoch = trainer.current_epoch
        if trainer.global_step - (self._logged_step or 0) >= self._every:
            self._log(trainer)
            # Where early stopping and checkpoints look for a metric to watch.
            pl_module.log_dict(
                {name: torch.tensor(value) for name, value in self.latest.items()}, logger=False
            )

    def _log(self, trainer: Trainer) -> None:
        totals = cast("TranslationModule", trainer.lightning_module).pop_totals()
        if totals is None:
            return
        loss, nll, tokens, grad_norm = totals  # the one place where the device is waited for
        self._pause_clock()
        self._resume_clock()
        seconds, self._window_seconds = self._window_seconds, 0.0
        self._logged_step = trainer.global_step
        self.train_tokens += int(tokens)
        self.latest = {
            "train/loss": loss / tokens,
            "train/nll": nll / tokens,
            "train/lr": self._lr,
            "train/tokens_per_second": tokens / max(seconds, 1e-9),
        }
        if grad_norm is not None:
            self.latest["train/grad_norm"] = grad_norm
        for logger in trainer.loggers:
            logger.log_metrics({**self.latest, "epoch": self._epoch}, step=trainer.global_step)
        check_finite("training", loss / tokens, trainer.global_step)

    def _pause_clock(self) -> None:
        if self._since is not None:
            spent = time.perf_counter() - self._since
            self.train_seconds += spent
            self._window_seconds += spent
            self._since = None

    def _resume_clock(self) -> None:
        self._since = time.perf_counter()
