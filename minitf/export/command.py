"""The command that trains a run again: what differs from the defaults, as overrides."""

import dataclasses
import os
import re
import shlex
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from minitf.config.compose import compose_config, plain
from minitf.config.schema import TrainConfig

_WORDS = ("true", "false", "null", "nan", "inf")
"""What Hydra reads as something else than text."""

_NOT_THE_RECIPE = ("run_dir", "resume", "logger")


def training_command(config: TrainConfig) -> str:
    """`python train.py …` with an override for each key that is not at its default."""
    parts = {"data": config.data, "tokenizer": config.tokenizer}
    told = {
        name: dataclasses.replace(part, **without_places(vars(part)))
        for name, part in parts.items()
    }
    shown = dataclasses.replace(config, **told)
    return shlex.join(["python", "train.py", *overrides(shown)])


def without_places(options: dict[str, Any]) -> dict[str, Any]:
    """Options of data or tokenizer without directories, which are nobody else's business."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, str) and os.path.isabs(os.path.expanduser(value)):
            return os.path.basename(value)
        return value

    root = {"root": "DIR"} if options.get("root", ".") != "." else {}
    return {key: plain(value) for key, value in options.items()} | root


def overrides(config: TrainConfig) -> list[str]:
    """The overrides that lead from the defaults to a run's configuration."""
    from omegaconf import OmegaConf

    wanted: dict[str, Any] = plain(OmegaConf.structured(config))
    chosen = [f"data={wanted['data']['name']}"]
    if "torch.nn." in str(wanted["attention"].get("_target_")):
        chosen.append("attention=torch")
    base: dict[str, Any] = plain(compose_config(chosen))
    for key in _NOT_THE_RECIPE:
        wanted.pop(key, None)
        base.pop(key, None)
    return chosen + _differences("", base, wanted)


def _differences(place: str, base: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    found = []
    for key, value in wanted.items():
        path = f"{place}{key}"
        if key not in base:
            found.append(f"+{path}={_grammar(value)}")
        elif isinstance(value, dict) and isinstance(base[key], dict):
            found += _differences(f"{path}.", base[key], value)
        elif value != base[key]:
            found.append(f"{path}={_grammar(value)}")
    return found + [f"~{place}{key}" for key in base if key not in wanted]


def _grammar(value: Any) -> str:
    """A value in Hydra's override grammar."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_grammar(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_grammar, value)) + "]"
    if isinstance(value, str) and (
        not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", value) or value.lower() in _WORDS
    ):
        return QuotedString(value, Quote.double).with_quotes()
    return str(value)
