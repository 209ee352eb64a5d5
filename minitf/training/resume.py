"""`resume=DIR`: the stored configuration of a run, with what the command line changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from minitf.config import UserError
from minitf.config.compose import GROUPS, config_dir, load_config, plain


def resumed(composed: DictConfig, overrides: list[str]) -> DictConfig:
    """The stored configuration of a run, with what the command line changes.

    Args:
        composed: what Hydra made of the command line.
        overrides: the command line's overrides; a group replaces the stored group, a key its value.

    Raises:
        UserError: the directory holds no run, or an override does not fit.
    """
    run_dir = Path(composed.resume).resolve()
    config = load_config(run_dir / "config.yaml")
    groups = stored_groups(config)
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~").partition("@")[0]
        if key in ("resume", "run_dir") or override in groups:
            continue
        if key in ("experiment", "debug"):
            raise UserError(f"{key}= changes many keys at once; on resume give single keys")
        value, merge = _typed_value(composed, key, override)
        OmegaConf.update(config, key, value, merge=merge, force_add=True)
    stored = load_config(run_dir / "config.yaml")
    _refuse_changes(config, stored, composed.resume)
    for key, before, now in _changes("", plain(stored), plain(config)):
        print(f"changed    {key}={now}, it was {before}")
    config.resume = composed.resume
    config.run_dir = str(run_dir)
    return config


def _typed_value(composed: DictConfig, key: str, override: str) -> tuple[Any, bool]:
    """What an override sets, and whether it is merged into what stands there.

    Of a dictionary it is what was typed alone, and ${…} as it stands, which then refers to the
    run's own values, not to the defaults. A group's option replaces the group.
    """
    if not override.startswith("~"):
        typed = OverridesParser.create().parse_override(override).value()
        if isinstance(typed, dict):
            return typed, True
    if key in GROUPS:
        return OmegaConf.select(composed, key), False
    value: Any = OmegaConf.to_container(composed, resolve=False)
    for part in key.split("."):
        if isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value, True


def stored_groups(config: DictConfig) -> list[str]:
    """The overrides under which Hydra knows the keys of a run's own data and callbacks.

    The list of callbacks begins with a space, by which it is told from one that was typed.
    """
    known = {file.stem for file in (config_dir() / "callbacks").glob("*.yaml")}
    callbacks = ",".join(sorted(known.intersection(config.callbacks or {})))
    return [f"data={config.data.name}", *([f"callbacks=[ {callbacks}]"] if callbacks else [])]


def _refuse_changes(config: DictConfig, stored: DictConfig, run: str) -> None:
    """Refuse what trained weights, Adam's moments or the position in the data cannot follow."""
    changes = [
        (f"{group}.{key}", value, config[group].get(key))
        for group in ("model", "tokenizer", "batching")
        for key, value in stored[group].items()
        if not key.endswith("dropout") and key not in ("num_workers", "on_device")
    ]
    changes += [("optimizer.name", stored.optimizer.name, config.optimizer.name)]
    changes += [("seed", stored.seed, config.seed)]
    for key, before, now in changes:
        if before != now:
            raise UserError(f"{key} was {before} in {run} and cannot change on resume; got {now}")


def _changes(place: str, before: Any, now: Any) -> Iterator[tuple[str, Any, Any]]:
    """The keys in which two plain configurations differ, with both values."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        if before != now:
            yield place, before, now
        return
    for key in {**before, **now}:
        where = f"{place}.{key}" if place else str(key)
        yield from _changes(where, before.get(key), now.get(key))
