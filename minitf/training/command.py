"""The command `python train.py`: Hydra composes, `train` runs, errors are one line."""

import contextlib
import io
import math
import os
import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import NoReturn, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from minitf.config import UserError
from minitf.config.compose import config_dir, load_config, register, to_dataclass, typed
from minitf.config.messages import explain
from minitf.config.own_code import refusal_of_own_code
from minitf.training.arguments import prepared
from minitf.training.directory import RANK_CONFIG, once_there_is_room
from minitf.training.resume import resumed
from minitf.training.sweep import Sweep, print_summary, short_names

_failures: list[str] = []
"""Of a sweep's jobs: one that a user can put right does not keep the others back."""

_finished: list[tuple[str, Path]] = []
"""Of a sweep's jobs, by name: the folders of those that came to their end."""

_heard: list[int] = []
"""Ctrl-C outside training, which hears signals itself."""


def main() -> None:
    """Entry point of train.py; ends the process with 0, 2 for a user's error, 128 + signal."""
    if "OMP_WAIT_POLICY" not in os.environ:
        # Before torch is loaded: where another program has a core, threads that spin for long at
        # each meeting take it in turns to wait, and training slows tenfold (tests/benchmarks).
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a locale without "≠" loses no run
        sys.stdout.reconfigure(errors="replace")
    register()
    _failures.clear()
    _finished.clear()
    _heard.clear()
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # the user's own classes, where train.py is run from elsewhere
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves its errors to us
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not below `nohup`
        signal.signal(signal.SIGINT, _interrupt)
    try:
        if path := os.environ.get(RANK_CONFIG):
            _run(load_config(Path(path)))
        else:
            sys.argv[1:] = prepared(sys.argv[1:])
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
        _say_interrupted()
    except SystemExit:
        if _heard:  # Lightning's answer, before the first update
            _say_interrupted()
        raise
    except BrokenPipeError:  # as of `--help | head`; what is left would raise again at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if _heard:  # which a library has answered with an error of its own
            _say_interrupted()
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
    try:
        from minitf.training.callbacks import Interrupted
        from minitf.training.checkpoint_io import NO_ROOM
        from minitf.training.run import train

        if _heard:  # in a place, while libraries were loaded, where Python drops what is raised
            raise KeyboardInterrupt
    except BaseException:
        with contextlib.suppress(OSError):  # it is not there, or holds a run
            Path(config.run_dir).rmdir()
        raise
    try:
        return train(config, sweep)
    except Interrupted as interrupted:
        _ignore_signals()
        sys.exit(interrupted.exit_code)
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            run_dir = Path(config.run_dir)
            raise UserError(
                f"{error.filename or run_dir}: {error.strerror}: {once_there_is_room(run_dir)}"
            ) from error
        if (refusal := refusal_of_own_code(error)) is not None:
            raise refusal from error
        raise


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    _heard.append(signum)
    raise KeyboardInterrupt


def _say_interrupted() -> NoReturn:
    _ignore_signals()
    print("interrupted", file=sys.stderr)
    sys.exit(130)


def _ignore_signals() -> None:
    """The process ends; a signal that comes twice would only interrupt Python's own end."""
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


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


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
