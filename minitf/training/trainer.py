"""lightning.Trainer from the `trainer` and `callbacks` groups."""

import difflib
import inspect
import logging
import traceback
import warnings
from pathlib import Path
from typing import Any, get_args, get_type_hints

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.profilers import AdvancedProfiler, SimpleProfiler

from minitf.config import UserError
from minitf.config.errors import neighbours
from minitf.config.schema import EvaluationConfig
from minitf.training.checkpoint_io import AtomicCheckpointIO

_OURS = {
    "self", "callbacks", "logger", "plugins", "default_root_dir", "use_distributed_sampler",
    "enable_model_summary",
}  # fmt: skip


def quiet_lightning() -> None:
    """Silence Lightning's tips; what a user must know is said in this project's own lines."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in (
        ".*does not have many workers.*",
        ".*is smaller than the logging interval.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*isinstance.treespec, LeafSpec.*",
        ".*You are trying to `self.log.*",
        ".*but have no logger configured.*",
        ".*Total length of `.*` across ranks is zero.*",
        ".*lr_scheduler.step.. before .optimizer.step.*",
        ".*The `srun` command is available.*",
        ".*to accumulate the metric across devices.*",  # each validates the whole
        ".*callbacks used to create the checkpoint need to be provided.*",  # "changed" tells of it
    ):
        warnings.filterwarnings("ignore", message=pattern)


class Kept(ModelCheckpoint):
    """Lightning's, which would forget what it kept where the run's directory was moved."""

    @property
    def state_key(self) -> str:
        """As of Lightning's own, which older runs were saved with."""
        return super().state_key.replace(Kept.__name__, ModelCheckpoint.__name__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Look for the same files where the run is now."""

        def here(path: str) -> str:
            return str(Path(self.dirpath or "", Path(path).name)) if path else path

        paths = {key: here(value) for key, value in state_dict.items() if key.endswith("_path")}
        best = {here(path): score for path, score in state_dict["best_k_models"].items()}
        moved = {**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath}
        super().load_state_dict(moved)


class BestSeveral(Kept):
    """A class of its own, for Lightning tells the states of callbacks in a checkpoint by class."""


def checkpoint_callbacks(directory: Path, evaluation: EvaluationConfig) -> list[ModelCheckpoint]:
    """`best.ckpt` by validation loss; those to average at the end.

    Args:
        directory: where they go.
        evaluation: its `average_last` keeps the last epochs' `epoch-*.ckpt`, its `average_best`
            the best validations' `best-*.ckpt`.

    Raises:
        UserError: both are wanted.
    """
    if evaluation.average_last and evaluation.average_best:
        raise UserError(
            "evaluation.average_last and evaluation.average_best exclude each other, got "
            f"{evaluation.average_last} and {evaluation.average_best}; set one of them to 0"
        )
    plain_names: dict[str, Any] = {
        "auto_insert_metric_name": False,
        "enable_version_counter": False,
    }
    lowest: dict[str, Any] = {
        "monitor": "val/loss", "mode": "min", "save_on_train_epoch_end": False, **plain_names
    }  # fmt: skip
    callbacks: list[ModelCheckpoint] = [Kept(directory, filename="best", **lowest)]
    if evaluation.average_last:
        callbacks.append(
            Kept(
                directory,
                filename="epoch-{epoch:04d}",
                monitor="step",
                mode="max",
                save_top_k=evaluation.average_last,
                save_on_train_epoch_end=True,
                **plain_names,
            )
        )
    if evaluation.average_best:
        several = evaluation.average_best
        callbacks.append(
            BestSeveral(directory, filename="best-{step:07d}", save_top_k=several, **lowest)
        )
    return callbacks


def user_callbacks(options: dict[str, Any]) -> list[Callback]:
    """The callbacks that the `callbacks` group names by `_target_`.

    Raises:
        UserError: no such class, or arguments that it does not take.
    """
    return [
        _instantiate(f"callbacks.{name}", node)
        for name, node in options.items()
        if node is not None
    ]


def _instantiate(key: str, node: Any) -> Callback:
    if not isinstance(node, dict) or "_target_" not in node:
        raise UserError(f"{key} must hold _target_=package.Callback; got {node!r}")
    try:
        callback = instantiate(node)
    except InstantiationException as error:
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split())
        raise UserError(f"{key} ({node['_target_']}): {reason}") from error
    if not isinstance(callback, Callback):
        raise UserError(f"{key}: {node['_target_']} is not a lightning Callback")
    return callback


def build_trainer(options: dict[str, Any], run_dir: Path, callbacks: list[Callback]) -> Trainer:
    """The Trainer of a run, without loggers yet.

    Args:
        options: the `trainer` group: Lightning's own options.
        run_dir: Lightning's root directory.
        callbacks: all of them.

    Raises:
        UserError: an option that Lightning does not have, or a value that it refuses.
    """
    known = set(inspect.signature(Trainer.__init__).parameters)
    for key in options:
        if key in _OURS:
            raise UserError(f"trainer.{key} is set by minitf; leave it out")
        if key not in known:
            raise UserError(f"trainer has no key {key!r}; {neighbours(key, known - _OURS, 60)}")
        _check_type(key, options[key])
    if options.get("accelerator", "auto") == "auto":
        # Lightning would take Apple's GPU, on which nothing has been measured.
        options = {**options, "accelerator": "cuda" if torch.cuda.is_available() else "cpu"}
    if options.get("profiler") in ("simple", "advanced"):
        kind = {"simple": SimpleProfiler, "advanced": AdvancedProfiler}[options["profiler"]]
        options = {**options, "profiler": kind(dirpath=run_dir, filename="profile")}
    try:
        return Trainer(
            **options,
            default_root_dir=str(run_dir),
            callbacks=callbacks,
            logger=False,
            plugins=[AtomicCheckpointIO()],
            use_distributed_sampler=False,
            enable_model_summary=False,
        )
    except (ValueError, TypeError, RuntimeError, ImportError, MisconfigurationException) as error:
        raise UserError(f"trainer: {_with_its_option(error, options)}") from error


def _check_type(key: str, value: Any) -> None:
    """Refuse a text where Lightning wants a number or a switch, and null where it wants a value.

    Raises:
        UserError: with the types that the option takes.
    """
    hint = get_type_hints(Trainer.__init__)[key]
    types = get_args(hint) or (hint,)
    wordy = isinstance(value, str) or value is None
    if wordy and set(types) <= {int, float, bool, type(None)} and not isinstance(value, types):
        names = " or ".join(t.__name__ for t in types if t is not type(None))
        shown = "null" if value is None else repr(value)
        raise UserError(f"trainer.{key} must be {names}; got {shown}")


def lightning_refusal(error: Exception) -> str | None:
    """What Lightning found wrong with the options, in one line; None where another raised.

    Some options are checked only once training begins: intervals against the data's length, the
    metric that a callback watches.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = {"ValueError", "RuntimeError", "MisconfigurationException", "TypeError"}
    if frames and "/lightning/" in frames[-1].filename and type(error).__name__ in own:
        if "`val_check_interval`" in str(error) and "check_val_every_n_epoch" in str(error):
            return (
                "with check_val_every_n_epoch a val_check_interval counts the batches of an epoch, "
                "which has fewer: set trainer.val_check_interval=null"
            )
        return " ".join(str(error).split())
    return None


def _with_its_option(error: Exception, options: dict[str, Any]) -> str:
    """The error in one line, with the option that it most probably speaks of."""
    text = " ".join(str(error).split())
    named = [key for key in options if key in text]
    close = difflib.get_close_matches(text, [f"{k}={options[k]}" for k in named], n=1, cutoff=0)
    return f"{text} (got {close[0]})" if close else text
