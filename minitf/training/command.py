"""The command `python train.py`: Hydra composes, `train` runs, errors are one line."""

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from minitf.config import UserError
from minitf.config.compose import GROUPS, config_dir, load_config, register, typed
from minitf.config.messages import explain
from minitf.training.sweep import Sweep

RANK_CONFIG = "MINITF_RANK_CONFIG"
"""Set for the further processes of a data-parallel run: the configuration that rank 0 wrote."""


def main() -> None:
    """Entry point of train.py; ends the process with 0, 2 for a user's error, 128 + signal."""
    register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then leaves its errors to us
    try:
        if path := os.environ.get(RANK_CONFIG):
            _run(load_config(Path(path)))
        else:
            sys.argv[1:] = _with_run_dir(_flags_first(sys.argv[1:]))
            _hydra_main()
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:  # outside training, where Ctrl-C saves first
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        if message := explain(error):
            _fail(message)
        raise


@hydra.main(version_base="1.3", config_path=str(config_dir()), config_name="train")
def _hydra_main(config: DictConfig) -> float | None:
    job = HydraConfig.get()
    overrides = list(job.overrides.task)
    multirun = job.mode == RunMode.MULTIRUN
    config = typed(config)
    config.run_dir = job.runtime.output_dir
    if config.resume is not None:
        config = resumed(config, overrides)
    sweep = None
    if multirun:
        name = " ".join(o for o in overrides if not o.startswith("run_dir="))
        sweep = Sweep(Path(job.sweep.dir).name, name)
    # Lightning would start further processes through Hydra, each making a run directory.
    HydraConfig.instance().cfg = None
    return _run(config, sweep)


def _run(config: DictConfig, sweep: Sweep | None = None) -> float | None:
    from minitf.training.callbacks import Interrupted
    from minitf.training.run import train

    try:
        return train(config, sweep)
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_code)
    except UserError as error:  # here, because Hydra prints lines of its own about a failed job
        _fail(str(error))


def _flags_first(arguments: list[str]) -> list[str]:
    """`model=tiny -m attention=custom,torch`: argparse takes no flag between two overrides."""
    return sorted(arguments, key=lambda a: a not in ("-m", "--multirun"))


def _with_run_dir(arguments: list[str]) -> list[str]:
    """`resume=DIR` also says where the run lies, before Hydra makes a directory for it."""
    resumes = [a.partition("=")[2] for a in arguments if a.startswith("resume=")]
    if not resumes or resumes[-1] in ("", "null"):
        return arguments
    if any(a.startswith("run_dir=") for a in arguments):
        _fail("resume=DIR goes on in DIR; leave run_dir out")
    if not Path(resumes[-1].strip("'\"")).is_dir():
        _fail(f"resume={resumes[-1]}: no such run directory")
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
        if key in ("resume", "run_dir"):
            continue
        if key in ("experiment", "debug"):
            raise UserError(f"{key}= changes many keys at once; on resume give single keys")
        value: Any = OmegaConf.select(composed, key)
        OmegaConf.update(config, key, value, merge=key not in GROUPS, force_add=True)
    config.resume = composed.resume
    config.run_dir = str(run_dir)
    return config


def _fail(message: str) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
