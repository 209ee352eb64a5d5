"""The recipe that ends in seconds reaches its score, and training's further options work."""

import csv
import json
from pathlib import Path

import pytest
import torch

from minitf.config.compose import compose_config, options, to_dataclass
from minitf.evaluation.build import build_model
from minitf.training.checks import check_settings
from tests.integration.conftest import Train


def _results(run_dir: Path) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = json.loads((run_dir / "results.json").read_text())
    return found


def test_reversing_is_learnt(train: Train, tmp_path: Path) -> None:
    """To the last of 500 on some CPUs; on others, which round otherwise, but for one."""
    done = train("experiment=reverse", "run_dir=run", "logger=csv", toy=False)
    assert done.returncode == 0, done.stderr
    assert _results(tmp_path / "run")["test"]["exact_match"] >= 99.0


def test_averages_of_weights_are_what_is_tested(train: Train, tmp_path: Path) -> None:
    done = train(
        "callbacks=[ema,early_stopping]",
        "callbacks.ema.decay=0.5",
        "callbacks.early_stopping.monitor=val/bleu",
        "callbacks.early_stopping.mode=max",
        "callbacks.early_stopping.patience=2",
        "evaluation.average_last=3",
        "trainer.check_val_every_n_epoch=1",
        "trainer.val_check_interval=null",
        "trainer.max_steps=-1",
        "trainer.max_epochs=9",
        "schedule=constant",
        "data.train_size=100",
        "run_dir=run",
    )
    assert done.returncode == 0, done.stderr
    checkpoints = tmp_path / "run" / "checkpoints"
    # BLEU stays at 0 so early: the first epoch's is the best, and two more are waited for.
    assert sorted(p.name for p in checkpoints.iterdir()) == [
        "average.ckpt", "best.ckpt", "epoch-0000.ckpt", "epoch-0001.ckpt", "epoch-0002.ckpt",
        "last.ckpt",
    ]  # fmt: skip
    loaded = [torch.load(p, weights_only=True) for p in sorted(checkpoints.glob("epoch-*.ckpt"))]
    average = torch.load(checkpoints / "average.ckpt", weights_only=True)["state_dict"]
    for name, weight in average.items():
        mean = torch.stack([c["state_dict"][name].double() for c in loaded]).mean(0)
        torch.testing.assert_close(weight.double(), mean, rtol=1e-6, atol=1e-7)
    assert "current_model_state" in loaded[0]  # the moving average is what `state_dict` holds


@pytest.mark.parametrize("name", options("experiment"))
@pytest.mark.parametrize("attention", [[], ["attention=torch", "model.positions=sinusoidal"]])
def test_every_recipe_builds_a_model(name: str, attention: list[str]) -> None:
    settings = to_dataclass(
        compose_config([f"experiment={name}", "data.root=.", "run_dir=run", *attention])
        if name.startswith("multi30k")
        else compose_config([f"experiment={name}", "run_dir=run", *attention])
    )
    check_settings(settings)
    model = build_model(settings.model, settings.attention, 10_000, 0)
    if name.startswith("multi30k"):  # as many as in the paper, with its vocabulary
        assert 2_500_000 < sum(p.numel() for p in model.parameters()) < 2_650_000


@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true", "64-true"])
def test_the_swap_changes_no_bit_in_other_precisions(
    train: Train, tmp_path: Path, precision: str
) -> None:
    weights = []
    for name in ("custom", "torch"):
        run = tmp_path / name
        done = train(
            f"attention={name}",
            f"run_dir={name}",
            f"trainer.precision={precision}",
            "model.dropout=0.1",
            "trainer.max_steps=10",
            "trainer.val_check_interval=10",
        )
        assert done.returncode == 0, done.stderr
        checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
        weights.append(checkpoint["state_dict"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_a_compiled_model_trains(train: Train, tmp_path: Path) -> None:
    done = train("compile=true", "run_dir=run", "trainer.max_steps=5")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("every", [1, 4])
def test_the_last_update_is_logged_and_validated_wherever_it_falls(
    train: Train, tmp_path: Path, every: int
) -> None:
    """Neither the logging interval nor the validation interval ends at update 7."""
    done = train(
        "trainer.max_steps=7", "trainer.log_every_n_steps=5", "trainer.val_check_interval=null",
        f"trainer.check_val_every_n_epoch={every}", "run_dir=run", "logger=csv",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["train/loss"]][-2:] == ["5", "7"]
    assert [row["step"] for row in rows if row["val/loss"]][-1] == "7"
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").is_file()
