"""The command that trains a run again: what differs from the defaults, as overrides."""

import json
import shlex
from typing import Any

from minitf.config.compose import compose_config, plain
from minitf.config.schema import TrainConfig

_NOT_THE_RECIPE = ("run_dir", "resume", "logger")


def training_command(config: TrainConfig) -> str:
    """`python train.py …` with an override for each key that is not at its default."""
    given = overrides(config)
    # Where the data lie on this machine is nobody else's business.
    shown = ["data.root=DIR" if one.startswith("data.root=") else one for one in given]
    return shlex.join(["python", "train.py", *shown])


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
    if isinstance(value, str) and not (value.replace("_", "").isalnum() and value[0].isalpha()):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
