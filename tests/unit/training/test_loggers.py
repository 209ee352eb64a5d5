"""metrics.csv stays whole over a resume; wandb is offline without a key."""

import csv
from pathlib import Path

import pytest

from minitf.config import UserError
from minitf.training.loggers import RunCsvLogger, build_loggers, wandb_mode


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_logged_update_is_a_row_in_the_run_directory(tmp_path: Path) -> None:
    logger = RunCsvLogger(tmp_path)
    logger.log_metrics({"a": 1.5}, step=3)
    logger.log_metrics({"b": 2.5}, step=7)
    assert _rows(tmp_path / "metrics.csv") == [
        {"a": "1.5", "b": "", "step": "3"},
        {"a": "", "b": "2.5", "step": "7"},
    ]


def test_a_resumed_run_keeps_the_rows_up_to_its_checkpoint(tmp_path: Path) -> None:
    first = RunCsvLogger(tmp_path)
    for step in (10, 20, 30):
        first.log_metrics({"loss": float(step)}, step=step)
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("4")  # killed while it wrote
    second = RunCsvLogger(tmp_path)
    second.experiment.drop_after(20)
    second.log_metrics({"loss": 0.5, "new": 1.0}, step=30)
    assert [(row["step"], row["loss"]) for row in _rows(tmp_path / "metrics.csv")] == [
        ("10", "10.0"),
        ("20", "20.0"),
        ("30", "0.5"),
    ]


def test_a_run_that_goes_on_drops_what_was_logged_at_its_end(tmp_path: Path) -> None:
    """Of the updates after the last regular row, and the tests; validations stay."""
    first = RunCsvLogger(tmp_path)
    for step in (7, 14, 20):
        first.log_metrics({"train/loss": 1.0}, step=step)
    first.log_metrics({"val/loss": 2.0}, step=20)
    first.log_metrics({"test/loss": 3.0, "test/exact_match": 0.0}, step=20)
    again = RunCsvLogger(tmp_path).experiment
    again.drop_after(20)
    rows = [(row["step"], row["train/loss"]) for row in _rows(tmp_path / "metrics.csv")]
    assert rows == [("7", "1.0"), ("14", "1.0"), ("20", "1.0"), ("20", "")]
    again.drop_training_after(14)
    rows = [(row["step"], row["train/loss"]) for row in _rows(tmp_path / "metrics.csv")]
    assert rows == [("7", "1.0"), ("14", "1.0"), ("20", "")]


def test_the_mode_is_offline_without_a_key_and_the_users_word_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert wandb_mode() == ("disabled", None)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert wandb_mode() == ("offline", None)


def test_unknown_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="logger has no key 'wandbb'; there is: wandb"):
        build_loggers({"wandbb": {}}, {}, tmp_path, None)
