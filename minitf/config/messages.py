"""One line for each way in which a configuration can be wrong."""

import re
from collections.abc import Iterable
from typing import Any

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from minitf.config.compose import GROUPS, compose_config, options
from minitf.config.errors import UserError, neighbours


def explain(error: BaseException) -> str | None:
    """What a user has to know about a configuration error, in one line; None if it is no such.

    Hydra wraps OmegaConf's errors, which know the key and the type; the chain is searched for the
    first that says most.
    """
    chain = list(_chain(error))
    if isinstance(error, ValueError) and "Config group override must be" in str(error):
        groups = ", ".join(GROUPS)
        return f"a group takes the name of one of its options, not null; groups: {groups}"
    if isinstance(error, ValueError) and "Only one of --run, --multirun" in str(error):
        return "only one of Hydra's flags -m, --run, --cfg and --info can be given"
    if not any(isinstance(e, HydraException | OmegaConfBaseException | UserError) for e in chain):
        return None
    override = next((m for e in chain if (m := _override(str(e)))), None)
    for link in chain:
        if isinstance(link, UserError):
            return str(link)
        if isinstance(link, OverrideParseException):
            return _unparsed(link)
        if isinstance(link, MissingConfigException):
            return _no_option(link)
        if isinstance(link, ConfigKeyError | ConfigAttributeError):
            return _no_key(link, override)
        if isinstance(link, MissingMandatoryValue):
            return f"{link.full_key} has no value: give one with {link.full_key}=VALUE"
        if isinstance(link, OmegaConfBaseException):
            key = link.full_key or override or "a value"
            if "is not a ListConfig" in str(link):
                return f"{key} takes a list, as in {key}=[A,B]"
            if key == "data.tests" and re.search(r"DictConfig with List|Dict\[", str(link)):
                return (
                    "data.tests of data=table holds a name for each file: "
                    "+data.tests.NAME=FILE for each test split"
                )
            return f"{key}: {_first_line(link)}"
    return _composition(chain[0])


def _chain(error: BaseException | None) -> Iterable[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__ or error.__context__
    # Hydra's own types say what stage failed; of OmegaConf's, the outer ones are formatted whole.
    hydra = [e for e in found if isinstance(e, OverrideParseException | MissingConfigException)]
    return hydra + [e for e in found if e not in hydra]


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].strip()


def _override(text: str) -> str | None:
    match = re.search(r"Could not override '([^']+)'|Error merging override ([^=\s]+)", text)
    return (match[1] or match[2]) if match else None


def _unparsed(error: OverrideParseException) -> str:
    hint = "an override reads KEY=VALUE; quote values that hold , = { ~ or spaces: 'KEY=\"VALUE\"'"
    return f"cannot read {error.override!r}: {hint}"


def _no_option(error: MissingConfigException) -> str:
    missing = error.missing_cfg_file or ""
    group, _, option = missing.rpartition("/")
    known = error.options or options(group)
    if not known:
        return f"there is no configuration {missing!r}: {_first_line(error)}"
    hint = neighbours(option, known)
    if group == "attention":
        hint += "; your own class: attention._target_=package.Class"
    return f"{group}={option}: no such option; {hint}"


def _no_key(error: OmegaConfBaseException, override: str | None) -> str:
    key = str(error.full_key or override or error.key)
    parent, _, leaf = key.rpartition(".")
    known: Iterable[str] = ()
    node = error.parent_node
    if node is not None and OmegaConf.is_dict(node):
        known = [str(k) for k in node if k != "_target_"]
    elif error.object_type is not None and hasattr(error.object_type, "__dataclass_fields__"):
        known = list(error.object_type.__dataclass_fields__)
    where = f"{parent} has no key {leaf!r}" if parent else f"there is no key or group {leaf!r}"
    places = [place for place in places_of(leaf) if place != key]
    meant = f"did you mean {' or '.join(places)}? " if places else ""
    message = f"{where}; {meant}{neighbours(leaf, known)}"
    if key == "attention.kernel":
        return f"{where}: kernels are those of attention=custom"
    if parent == "data.tests":
        message += f"; a further test split: +{key}=FILE"
    if parent in ("trainer", "attention", "callbacks", "logger.wandb"):
        message += f"; an option that is not listed: +{key}=VALUE"
    return message


def places_of(leaf: str) -> list[str]:
    """The keys that end so, in the configuration that runs when nothing is overridden."""

    def walk(node: Any, prefix: str) -> Iterable[str]:
        for key, value in node.items():
            if key == leaf and prefix:
                yield f"{prefix}{key}"
            if isinstance(value, dict):
                yield from walk(value, f"{prefix}{key}.")

    return list(walk(OmegaConf.to_container(compose_config()), ""))


def _composition(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if (sweep := re.match(r"Ambiguous value for argument '(.*)'", lines[0])) is not None:
        return (
            f"{sweep[1]}: several values are a sweep, with -m; a list is written [A,B], "
            "and a text with commas '\"A,B\"'"
        )
    text = " ".join(lines) if isinstance(error, ConfigCompositionException) else lines[0]
    return re.sub(r"\s+", " ", text)
