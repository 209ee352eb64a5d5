"""Where metrics go: metrics.csv always, Weights & Biases if asked for."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_info

from minitf.config import UserError
from minitf.config.whole_file import whole_file
from minitf.training.sweep import Sweep


class _KeepingWriter(ExperimentWriter):
    """Lightning's writer, but what an earlier part of the same run wrote stays."""

    def _check_log_dir_exists(self) -> None:
        path = Path(self.metrics_file_path)
        if path.is_file():
            with path.open(newline="") as file:
                self.metrics_keys = list(csv.DictReader(file).fieldnames or [])

    def drop_after(self, step: int) -> None:
        """Remove what a run that goes on after update `step` writes again, and the tests."""
        tests = [key for key in self.metrics_keys if key.endswith("/exact_match")]
        self._keep(lambda row: int(row["step"]) <= step and not any(row[key] for key in tests))

    def drop_training_after(self, step: int) -> None:
        """Remove rows of training after update `step`, the last one that was logged as planned."""
        self._keep(lambda row: int(row["step"]) <= step or not row.get("train/loss"))

    def _keep(self, wanted: Callable[[dict[str, str]], bool]) -> None:
        """Keep the whole rows that are wanted."""
        path = Path(self.metrics_file_path)
        if not path.is_file():
            return
        with path.open(newline="") as file:
            whole = (row for row in csv.DictReader(file) if (row["step"] or "").isdecimal())
            rows = [row for row in whole if wanted(row)]
        with whole_file(path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)


class RunCsvLogger(CSVLogger):
    """`metrics.csv` in the run directory itself, one row a logged update, kept over a resume."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(str(run_dir), name="", version="", flush_logs_every_n_steps=1)

    @property
    def experiment(self) -> Any:
        """Lightning's writer of the file."""
        if self._experiment is None:
            os.makedirs(self.root_dir, exist_ok=True)
            self._experiment = _KeepingWriter(log_dir=self.log_dir)
        return self._experiment

    def log_hyperparams(self, params: Any = None) -> None:
        """Nothing: config.yaml stands beside the file."""


def wandb_mode() -> tuple[str, str | None]:
    """`online` where a key is configured and accepted, else `offline`; WANDB_MODE wins.

    Returns:
        The mode, and a line for the user where it is not what the key promises.
    """
    if mode := os.environ.get("WANDB_MODE"):
        return mode, None
    import wandb

    try:
        return ("online" if wandb.login(prompt=False) else "offline"), None
    except Exception as error:
        # A key without a network would otherwise end the run after 90 seconds of waiting.
        reason = str(error).strip().splitlines()[0]
        return "offline", f"wandb: {reason}; logging offline, `wandb sync` uploads later"


def build_loggers(
    options: dict[str, Any],
    config: dict[str, Any],
    run_dir: Path,
    sweep: Sweep | None,
    resumed_at: int | None = None,
) -> list[Logger]:
    """The loggers of a run.

    Args:
        options: the `logger` group; its key `wandb` holds the project and such, or null.
        config: the run's whole configuration as plain containers, shown in wandb.
        run_dir: where every file of the loggers goes.
        sweep: the sweep that this run belongs to.
        resumed_at: the update that a run goes on after; what was logged of later ones goes.

    Raises:
        UserError: an option that the logger does not take.
    """
    if unknown := set(options) - {"wandb"}:
        raise UserError(f"logger has no key {sorted(unknown)[0]!r}; there is: wandb")
    csv_logger = RunCsvLogger(run_dir)
    if resumed_at is not None:
        csv_logger.experiment.drop_after(resumed_at)
    loggers: list[Logger] = [csv_logger]
    if (chosen := options.get("wandb")) is not None:
        loggers.append(_wandb(dict(chosen), config, run_dir, sweep))
    return loggers


def _wandb(
    options: dict[str, Any], config: dict[str, Any], run_dir: Path, sweep: Sweep | None
) -> WandbLogger:
    import wandb
    from wandb.sdk.lib.runid import generate_id

    # Artifacts of an offline run are found by absolute path: keep them inside the run directory.
    os.environ["WANDB_DATA_DIR"] = str(run_dir / "wandb")
    os.environ.setdefault("WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL", "1")
    identity = run_dir / "wandb" / "run_id"
    identity.parent.mkdir(parents=True, exist_ok=True)
    if not identity.is_file():
        identity.write_text(generate_id())
    mode, notice = wandb_mode()
    if notice:
        rank_zero_info(notice)
    if sweep is not None:
        options["group"] = options.get("group") or sweep.group
    options["name"] = options.get("name") or (sweep.name if sweep else run_dir.name)
    try:
        run = wandb.init(
            dir=str(run_dir),
            id=identity.read_text().strip(),
            resume="allow",
            mode=cast(Any, mode),
            config=config,
            settings=wandb.Settings(silent=True),
            **options,
        )
    except (TypeError, ValueError, wandb.Error) as error:
        raise UserError(f"logger.wandb: {' '.join(str(error).split())}") from error
    # A resumed offline run starts a second file, whose own step counts from 0 again.
    run.define_metric("trainer/global_step")
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return WandbLogger(experiment=run)
