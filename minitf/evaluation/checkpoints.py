"""A run's weights: which file holds them, reading it without running code, averaging several."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from torch import Tensor

from minitf.config.errors import UserError

CHECKPOINT_HELP = "best, last, average, average:last:N, average:best:N or a file"
"""What `--checkpoint` takes."""

_PREFIX = "model."


@dataclass(frozen=True)
class Weights:
    """A model's weights out of one checkpoint, or the mean of several."""

    tensors: dict[str, Tensor]
    """The model's state_dict."""
    origin: str
    """The file, or the option and the files, that they came from."""
    tokenizer: str | None
    """Fingerprint of the tokenizer that the model was trained with, where it was kept."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's content: tensors and plain containers, in main memory.

    Raises:
        UserError: No such file, or one that is not a whole checkpoint of minitf.
    """
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}{_what_there_is(path.parent)}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn zip, a foreign pickle, … each raise their own
        size = path.stat().st_size
        reason = shorten(str(error).partition(". ")[0], 120, placeholder=" …")
        raise UserError(
            f"{path} ({size:,} bytes) is half-written or no plain checkpoint: {reason}; "
            f"choose another with --checkpoint"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise UserError(f"{path} is no checkpoint of a training run: it holds no state_dict")
    return content


def model_weights(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The model's own state_dict out of a training checkpoint.

    With weight averaging (EMA) in training these are the averaged weights: that is what Lightning
    keeps under `state_dict`, beside the `current_model_state` that training goes on with.
    """
    return {
        name.removeprefix(_PREFIX): weight
        for name, weight in checkpoint["state_dict"].items()
        if name.startswith(_PREFIX)
    }


def average_checkpoints(paths: Sequence[Path]) -> dict[str, Tensor]:
    """The mean of several checkpoints' model weights, summed in float64 and rounded once.

    Args:
        paths: At least one checkpoint, all of one model.

    Raises:
        UserError: None is given, one cannot be read, or their weights differ in names or shapes.
    """
    return _average(paths, "").tensors


def _average(paths: Sequence[Path], origin: str) -> Weights:
    if not paths:
        raise UserError(
            "there is no checkpoint to average: evaluation.average_last=N keeps those of the last "
            "N epochs, evaluation.average_best=N those of the N best validations"
        )
    first = _read_weights(paths[0])
    sums = {name: weight.double() for name, weight in first.tensors.items()}
    for path in paths[1:]:
        weights = _read_weights(path).tensors
        if _shapes(weights) != _shapes(first.tensors):
            raise UserError(f"{path} and {paths[0]} hold different models: they have no average")
        for name, weight in weights.items():
            sums[name] += weight
    mean = {n: (total / len(paths)).to(first.tensors[n].dtype) for n, total in sums.items()}
    return Weights(mean, origin, first.tokenizer)


def _read_weights(path: Path) -> Weights:
    checkpoint = read_checkpoint(path)
    stored = checkpoint.get("minitf")
    fingerprint = stored.get("tokenizer") if isinstance(stored, dict) else None
    return Weights(model_weights(checkpoint), str(path), fingerprint)


def find_weights(run_dir: Path, checkpoint: str | None = None) -> Weights:
    """The weights that a `--checkpoint` option chooses.

    Args:
        run_dir: A run's directory.
        checkpoint: `best` (lowest validation loss), `last`, `average` (the one that training made),
            `average:last:N` (epochs), `average:best:N` (validations where the run kept those, else
            epochs), or a file; None: what training tested with, the average where there is one,
            else the best, else the last.

    Raises:
        UserError: There is no such checkpoint, or it cannot be read.
    """
    directory = run_dir / "checkpoints"
    if checkpoint is None:
        path = tested_checkpoint(run_dir)
        if path is None:
            raise UserError(
                f"{run_dir} holds no checkpoint yet: let it train until its first validation"
            )
    elif checkpoint.startswith("average:"):
        paths = _to_average(run_dir, checkpoint)
        return _average(paths, f"{checkpoint} ({', '.join(path.name for path in paths)})")
    elif checkpoint in ("best", "last", "average"):
        path = directory / f"{checkpoint}.ckpt"
    else:
        path = Path(checkpoint) if Path(checkpoint).is_file() else directory / checkpoint
    return _read_weights(path)


def tested_checkpoint(run_dir: Path) -> Path | None:
    """What training tested with: the average where there is one, else the best, else the last."""
    there = (run_dir / "checkpoints" / f"{name}.ckpt" for name in ("average", "best", "last"))
    return next((path for path in there if path.is_file()), None)


def _to_average(run_dir: Path, checkpoint: str) -> list[Path]:
    match = re.fullmatch(r"average:(last|best):([1-9]\d*)", checkpoint)
    if match is None:
        raise UserError(f"--checkpoint takes {CHECKPOINT_HELP}; received {checkpoint!r}")
    which, number = match[1], int(match[2])
    paths = kept_checkpoints(run_dir, which, number)
    if len(paths) < number:
        kind = paths[0].name.partition("-")[0] if paths else "epoch"
        found = f"--checkpoint {checkpoint}: {run_dir} has {len(paths)} {kind} checkpoints"
        advice = f"train with evaluation.average_{which}={number} to keep as many"
        if which == "best" and kind == "epoch":
            found += " with a validation of their own"
            advice += f", or choose average:last:{number}"
        raise UserError(f"{found}; {advice}")
    return paths


def kept_checkpoints(run_dir: Path, which: str, number: int) -> list[Path]:
    """At most so many of the checkpoints that a run keeps for averaging, in order.

    Args:
        run_dir: A run's directory.
        which: `last` (epochs), or `best` (validations where the run kept those, else epochs, of
            those with a validation).
        number: How many.
    """
    directory = run_dir / "checkpoints"
    kept = sorted(directory.glob("epoch-[0-9]*.ckpt"), key=_number)
    if which == "last":
        return kept[-number:]
    kept = sorted(directory.glob("best-[0-9]*.ckpt"), key=_number) or kept
    losses = {path: _validation_loss(run_dir, path) for path in kept}
    found = {path: loss for path, loss in losses.items() if loss is not None}
    return sorted(sorted(found, key=lambda path: found[path])[:number], key=_number)


def _number(path: Path) -> int:
    """Of the epoch or update: beyond 9999, names are not in this order."""
    return int(re.findall(r"\d+", path.name)[0])


def _validation_loss(run_dir: Path, path: Path) -> float | None:
    """The last validation loss up to a checkpoint's update, for an epoch's in that epoch alone.

    None: there was none. What a finished run was tested on stands in metrics.csv without an epoch.
    """
    checkpoint = read_checkpoint(path)
    epochs = path.name.startswith("epoch-")
    metrics = run_dir / "metrics.csv"
    if not metrics.is_file():
        raise UserError(f"--checkpoint average:best:N needs {metrics}, which is not there")
    try:
        with metrics.open(newline="") as file:
            losses = [
                float(row["val/loss"])
                for row in csv.DictReader(file)
                if row.get("val/loss")
                and row.get("epoch")
                and int(row["step"]) <= checkpoint["global_step"]
                and (not epochs or int(row["epoch"]) == checkpoint["epoch"])
            ]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise UserError(f"{metrics} is torn, or not a run's: {error!r}") from error
    return losses[-1] if losses else None


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {name: weight.shape for name, weight in weights.items()}


def _what_there_is(directory: Path) -> str:
    names = sorted(path.name for path in directory.glob("*.ckpt"))
    return f"; there is: {', '.join(names)}" if names else ""
