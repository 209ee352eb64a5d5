"""What a directory holds of a trained model: configuration, tokenizer, weights.

Two kinds of directory are read: a run (config.yaml, tokenizer.json, checkpoints/) and a safetensors
export (config.json, tokenizer.json, model.safetensors). Nothing in them is executed.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from minitf.config.errors import UserError
from minitf.config.schema import TrainConfig
from minitf.evaluation.checkpoints import find_weights
from minitf.tokenizer import TextTokenizer

EXPORT_FORMAT = "minitf"
"""The value of `format` in an export's config.json."""


@dataclass(frozen=True)
class Stored:
    """A trained model, read but not built."""

    directory: Path
    config: TrainConfig
    tokenizer: TextTokenizer
    weights: dict[str, Tensor]
    origin: str


def read_stored(directory: Path, checkpoint: str | None = None) -> Stored:
    """Read a run directory or a safetensors export.

    Raises:
        UserError: It is neither, or a file in it is missing, torn, or does not fit the others.
    """
    if not directory.is_dir():
        kind = "is a file" if directory.exists() else "does not exist"
        raise UserError(
            f"{directory} {kind}: give the directory of a run (train.py prints it; the newest is "
            f"outputs/latest) or of a safetensors export"
        )
    if (directory / "config.yaml").is_file():
        return _read_run(directory, checkpoint)
    if (directory / "config.json").is_file():
        if checkpoint is not None:
            raise UserError(f"--checkpoint chooses within a run; {directory} is an export")
        return _read_export(directory)
    raise UserError(
        f"{directory} is no run and no export: it holds neither config.yaml nor config.json"
    )


def _read_run(directory: Path, checkpoint: str | None) -> Stored:
    from omegaconf import OmegaConf

    from minitf.config.compose import load_config, to_dataclass

    config = load_config(directory / "config.yaml")
    if missing := sorted(OmegaConf.missing_keys(config)):
        raise UserError(
            f"{directory / 'config.yaml'} has no value for {', '.join(missing)}: is it whole?"
        )
    tokenizer = _read_tokenizer(directory)
    weights = find_weights(directory, checkpoint)
    _check_fingerprint(directory, tokenizer, weights.tokenizer)
    settings = cast(TrainConfig, to_dataclass(config))
    return Stored(directory, settings, tokenizer, weights.tensors, weights.origin)


def _read_export(directory: Path) -> Stored:
    from omegaconf.errors import OmegaConfBaseException
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = directory / "config.json"
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if content.get("format") != EXPORT_FORMAT:
            raise UserError(
                f"{directory} is an export for another engine; minitf reads "
                f"`minitf export RUN_DIR --to safetensors`"
            )
        config = config_from(content["config"], directory)
        shared = {str(name): str(same) for name, same in content.get("shared", {}).items()}
    except UserError:
        raise
    except (ValueError, KeyError, AttributeError, TypeError, OmegaConfBaseException) as error:
        reason = " ".join(repr(error).split())
        raise UserError(f"{file} is not an export's configuration: {reason}") from error
    tokenizer = _read_tokenizer(directory)
    _check_fingerprint(directory, tokenizer, content.get("tokenizer"))
    path = directory / "model.safetensors"
    if not path.is_file():
        raise UserError(f"{directory} holds no model.safetensors: export the run anew")
    try:
        weights = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is half-written or no safetensors file: {error}") from error
    for name, same in shared.items():
        if same not in weights:
            raise UserError(f"{file} names {same!r} as shared, which {path} does not hold")
        weights[name] = weights[same]
    return Stored(directory, config, tokenizer, weights, str(path))


def config_from(content: dict[str, Any], directory: Path) -> TrainConfig:
    """An export's part of the configuration as a whole one."""
    from omegaconf import OmegaConf

    from minitf.config.compose import to_dataclass, typed

    node = OmegaConf.create({**content, "run_dir": str(directory)})
    return cast(TrainConfig, to_dataclass(typed(node)))


def _read_tokenizer(directory: Path) -> TextTokenizer:
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise UserError(f"{directory} holds no tokenizer.json: copy the run's own there")
    return TextTokenizer.load(path)


def _check_fingerprint(directory: Path, tokenizer: TextTokenizer, trained_with: Any) -> None:
    if trained_with is not None and trained_with != tokenizer.fingerprint:
        raise UserError(
            f"{directory / 'tokenizer.json'} is not the tokenizer that the model was trained with "
            f"({tokenizer.fingerprint}, not {trained_with}): put the run's own back"
        )
