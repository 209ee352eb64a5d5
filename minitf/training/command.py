"""The command `python train.py`: Hydra composes, `train` runs, errors are one line."""

import dataclasses
import math
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from minitf.config import UserError
from minitf.config.compose import (
    GROUPS,
    config_dir,
    load_config,
    plain,
    register,
    to_dataclass,
    typed,
)
from minitf.config.messages import explain, places_of
from minitf.config.own_code import refusal_of_own_code
from minitf.config.schema import TrainConfig
from minitf.training.directory import RANK_CONFIG
from minitf.training.sweep import Sweep, print_summary, short_names

_failures: list[str] = []
"""Of a sweep's jobs: one that a user can put right does not keep the others back."""

_finished: list[tuple[str, Path]] = []
"""Of a sweep's jobs, by name: the folders of those that came to their end."""


def main() -> None:
    """Entry point of train.py; ends the process with 0, 2 for a user's error, 128 + signal."""
    if "OMP_WAIT_POLICY" not in os.environ:
        # Before torch is loaded: where another program has a core, threads that spin for long at
        # each meeting take it in turns to wait, and training slows tenfold (tests/benchmarks).
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    register()
    _failures.clear()
    _finished.clear()
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # the user's own classes, where train.py is run from elsewhere
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves its errors to us
    try:
        if path := os.environ.get(RANK_CONFIG):
            _run(load_config(Path(path)))
        else:
            _refuse_dashes(sys.argv[1:])
            _refuse_empty(sys.argv[1:])
            _refuse_folders_apart(sys.argv[1:])
            sys.argv[1:] = map(_quoted, _with_run_dir(_flags_first(sys.argv[1:])))
            try:
                _hydra_main()
            finally:
                if _finished:
                    print_summary(_finished, _failures, Console(soft_wrap=True, markup=False))
        if _failures:
            finished = [name for name, _ in _finished]
            names = short_names([*_failures, *finished])[: len(_failures)]
            _fail(f"{len(_failures)} of the sweep's runs failed: {'; '.join(names)}")
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:  # outside training, where Ctrl-C saves first
        _ignore_signals()
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if message := explain(error):
            _fail(message)
        frames = traceback.extract_tb(error.__traceback__)
        if isinstance(error, OSError) and _hydra_main.__name__ not in {f.name for f in frames}:
            _fail(f"the run directory cannot be made: {error.filename}: {error.strerror}")
        raise


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")
def _hydra_main(config: DictConfig) -> float | None:
    job = HydraConfig.get()
    # As they were typed: read one by one, a ${…} would be looked for among Hydra's own keys.
    overrides = cast(list[str], OmegaConf.to_container(job.overrides.task))
    multirun = job.mode == RunMode.MULTIRUN
    try:
        config = typed(config)
    except Exception as error:
        if message := explain(error):
            _fail(message)
        raise
    config.run_dir = job.runtime.output_dir
    sweep = None
    if multirun:
        name = " ".join(o for o in overrides if not o.startswith("run_dir="))
        sweep = Sweep(Path(job.sweep.dir).name, name)
    # Lightning would start further processes through Hydra, each making a run directory.
    HydraConfig.instance().cfg = None
    try:
        if config.resume is not None:
            config = resumed(config, overrides)
        choose_decoding(config, overrides)
        best = _run(config, sweep)
        if sweep is not None:
            _finished.append((sweep.name, Path(config.run_dir)))
        return best
    except UserError as error:  # here, because Hydra prints lines of its own about a failed job
        if sweep is None:
            _fail(str(error))
        print(f"error: {error}", file=sys.stderr)
        _failures.append(sweep.name)
        return math.nan  # a sweeper that compares results takes it for none


def _run(config: DictConfig, sweep: Sweep | None = None) -> float | None:
    from minitf.training.callbacks import Interrupted
    from minitf.training.run import train

    try:
        return train(config, sweep)
    except Interrupted as interrupted:
        _ignore_signals()
        sys.exit(interrupted.exit_code)
    except UserError:
        raise
    except Exception as error:
        if (refusal := refusal_of_own_code(error)) is not None:
            raise refusal from error
        raise


def _ignore_signals() -> None:
    """The process ends; a signal that comes twice would only interrupt Python's own end."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


def _flags_first(arguments: list[str]) -> list[str]:
    """`model=tiny -m attention=custom,torch`: argparse takes no flag between two overrides."""
    return sorted(arguments, key=lambda a: a not in ("-m", "--multirun"))


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
    """Quote a plain value with letters beyond ASCII, which Hydra reads in quotes alone."""
    key, equals, value = argument.partition("=")
    if not equals or argument.isascii() or any(c in value for c in "\"'\\,=()[]{}$~"):
        return argument
    return f'{key}="{value}"'


def _with_run_dir(arguments: list[str]) -> list[str]:
    """`resume=DIR` also says where the run lies, before Hydra makes a directory for it."""
    resumes = [a.partition("=")[2] for a in arguments if a.startswith("resume=")]
    if not resumes or resumes[-1] == "null":
        return arguments
    if any(a.startswith("run_dir=") for a in arguments):
        _fail("resume=DIR goes on in DIR; leave run_dir out")
    run_dir = Path(resumes[-1].strip("'\""))
    if not run_dir.is_dir():
        _fail(f"resume={resumes[-1]}: no such run directory")
    if not any(a.startswith("data=") for a in arguments):  # so that its keys can be overridden
        arguments = [f"data={load_config(run_dir / 'config.yaml').data.name}", *arguments]
    return [*arguments, f"run_dir={resumes[-1]}"]


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
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~").partition("@")[0]
        if key in ("resume", "run_dir") or override == f"data={config.data.name}":
            continue
        if key in ("experiment", "debug"):
            raise UserError(f"{key}= changes many keys at once; on resume give single keys")
        value: Any = OmegaConf.select(composed, key)
        OmegaConf.update(config, key, value, merge=key not in GROUPS, force_add=True)
    stored = load_config(run_dir / "config.yaml")
    _refuse_changes(config, stored, composed.resume)
    for key, before, now in _changes("", plain(stored), plain(config)):
        print(f"changed    {key}={now}, it was {before}")
    config.resume = composed.resume
    config.run_dir = str(run_dir)
    return config


def choose_decoding(config: DictConfig, overrides: list[str]) -> None:
    """Set the method that typed decoding options imply, as in the commands: a beam size means beam.

    Args:
        config: of the run; its evaluation.decoding.method is set.
        overrides: the command line's.

    Raises:
        UserError: a typed option is not read by the typed method.
    """
    place = "evaluation.decoding."
    keys = [override.partition("=")[0].lstrip("+") for override in overrides]
    names = [key.removeprefix(place) for key in keys if key.startswith(place)]
    if names:
        from minitf.evaluation.options import decoding_options

        base = to_dataclass(config.evaluation.decoding)
        try:
            chosen = decoding_options(base, **{name: getattr(base, name) for name in names})
        except UserError as error:
            raise UserError(str(error).replace("decoding.", place)) from error
        config.evaluation.decoding.method = chosen.method


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


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
