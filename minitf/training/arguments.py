"""What is typed after `python train.py`, before Hydra reads it."""

import dataclasses
import os
import re
from pathlib import Path

from minitf.config import UserError
from minitf.config.compose import GROUPS, load_config
from minitf.config.messages import places_of
from minitf.config.schema import TrainConfig
from minitf.training.resume import stored_groups

_WITH_A_VALUE = (
    "--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn",
    "--config-dir", "-cd", "--info", "-i", "--experimental-rerun",
)  # fmt: skip
"""Of Hydra's flags, those that a word follows."""

_NAMES = (
    "run_dir", "resume", "tokenizer.path", "logger.wandb.project", "logger.wandb.group",
    "logger.wandb.name", "logger.wandb.entity",
)  # fmt: skip
"""Keys of texts, as are those of the data."""


def prepared(arguments: list[str]) -> list[str]:
    """The arguments as Hydra takes them.

    Raises:
        UserError: what Hydra would misunderstand, or would say in words of its own.
    """
    _refuse_dashes(arguments)
    _refuse_empty(arguments)
    _refuse_folders_apart(arguments)
    return [_quoted(argument) for argument in _flags_first(_with_run_dir(arguments))]


def _flags_first(arguments: list[str]) -> list[str]:
    """`model=tiny -m attention=custom,torch`: argparse takes no flag between two overrides."""
    flags: list[str] = []
    others: list[str] = []
    for argument in arguments:
        is_value = flags and flags[-1] in _WITH_A_VALUE and "=" not in argument
        (flags if argument.startswith("-") or is_value else others).append(argument)
    return [*flags, *others]


def _refuse_dashes(arguments: list[str]) -> None:
    """`--model tiny` or `--max-steps=10`, as other programs are told: say how it is written here.

    Raises:
        UserError: an argument is one of our keys, or the end of one, behind dashes.
    """
    keys = {field.name for field in dataclasses.fields(TrainConfig)} | set(GROUPS)
    for number, argument in enumerate(arguments):
        key, equals, value = argument.lstrip("-").partition("=")
        key = key.replace("-", "_")
        if not argument.startswith("-"):
            continue
        places = [key] if key.partition(".")[0] in keys else []
        if places or (argument.startswith("--") and (places := places_of(key))):
            rest = arguments[number + 1 : number + 2]
            value = value if equals else (rest[0] if rest and "=" not in rest[0] else "VALUE")
            written = " or ".join(f"{place}={value}" for place in places)
            raise UserError(f"an option is written without dashes: {written}")


def _refuse_empty(arguments: list[str]) -> None:
    """`run_dir=$UNSET` would fill the working directory.

    Raises:
        UserError: run_dir or resume without a value.
    """
    for argument in arguments:
        if argument in ("run_dir=", "resume="):
            raise UserError(f"{argument} has no value: name a directory, or leave it out")


def _refuse_folders_apart(arguments: list[str]) -> None:
    """Processes that torchrun starts would each name a folder by their own clock.

    Raises:
        UserError: there are several, and none is told where the run lies.
    """
    several = "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and not any(a.startswith(("run_dir=", "resume=")) for a in arguments):
        raise UserError(
            "under torchrun the processes need one directory: give run_dir=DIR (or leave torchrun "
            "out: trainer.devices=N starts them too)"
        )


def _quoted(argument: str) -> str:
    """Quote a plain value that Hydra reads as another: letters beyond ASCII, or 1.10 of a name."""
    key, equals, value = argument.partition("=")
    if not equals or not key.isascii():
        return argument
    is_name = key.lstrip("+") in _NAMES or key.lstrip("+").startswith("data.")
    if is_name and re.fullmatch(r"\[[\w.,+ -]*\]", value):
        items = [item.strip() for item in value[1:-1].split(",")]
        plain = [i.isascii() and not _changes_as_a_number(i) for i in items]
        texts = [i if p else _as_text(i) for i, p in zip(items, plain, strict=True)]
        return f"{key}=[{','.join(texts)}]"
    if any(c in value for c in "\"'\\,=()[]{}$~"):
        return argument
    changes = is_name and (_changes_as_a_number(value) or value in ("true", "false"))
    return argument if argument.isascii() and not changes else f"{key}={_as_text(value)}"


def _as_text(value: str) -> str:
    return f'"{value}"'


def _changes_as_a_number(value: str) -> bool:
    """Whether a number's own spelling is another: 2026_11_27, 1.10, 1e3."""
    for kind in (int, float):
        try:
            return str(kind(value)) != value
        except ValueError:
            continue
    return False


def _with_run_dir(arguments: list[str]) -> list[str]:
    """`resume=DIR` also says where the run lies, before Hydra makes a directory for it.

    Raises:
        UserError: there is no such directory, run_dir is given as well, or it is a sweep.
    """
    resumes = [a.partition("=")[2] for a in arguments if a.startswith("resume=")]
    if not resumes or resumes[-1] == "null":
        return arguments
    if {"-m", "--multirun"}.intersection(arguments):
        raise UserError(
            "a sweep (-m) starts new runs; resume=DIR goes on in one: leave -m or resume out"
        )
    if any(a.startswith("run_dir=") for a in arguments):
        raise UserError("resume=DIR goes on in DIR; leave run_dir out")
    run_dir = Path(resumes[-1].strip("'\""))
    if not run_dir.is_dir():
        raise UserError(f"resume={resumes[-1]}: no such run directory")
    for group in stored_groups(load_config(run_dir / "config.yaml")):  # whose keys can be typed
        if group.partition("=")[0] not in {a.lstrip("+~").partition("=")[0] for a in arguments}:
            arguments = [group, *arguments]
    return [*arguments, f"run_dir={resumes[-1]}"]
