"""However a training ends, `last.ckpt` is where it ended, and goes on from there."""

import csv
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

import minitf.training.module
from minitf.training.callbacks import interruption
from tests.integration.conftest import TOY, Run

NO_LIMIT = ["trainer.max_steps=-1", "schedule=constant"]


class Slow(Callback):
    """Makes a timer ring in the middle of an update, after some whole ones."""

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """Wait."""
        time.sleep(0.05)


class Stops(Callback):
    """Signals at an update's validation; with `again` a second follows, with `fails` an error."""

    def __init__(self, update: int, *, again: bool = False, fails: bool = False) -> None:
        self.update, self.again, self.fails = update, again, fails

    def on_validation_start(self, trainer: Any, *_: Any) -> None:
        """Send it."""
        if trainer.global_step == self.update:
            os.kill(os.getpid(), signal.SIGINT)
            if self.again:
                os.kill(os.getpid(), signal.SIGINT)
            if self.fails:
                raise RuntimeError("the compiler was interrupted")


def stops(update: int, **options: bool) -> str:
    """The override that adds it."""
    more = "".join(f",{name}:{str(value).lower()}" for name, value in options.items())
    return f"+callbacks.stop={{_target_:{__name__}.Stops,update:{update}{more}}}"


def updates(run_dir: Path) -> tuple[int, int, int]:
    """Made, saved as the last, and validated."""
    made = json.loads((run_dir / "results.json").read_text())["updates"]
    last = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    validated = [int(row["step"]) for row in rows(run_dir) if row.get("val/loss")]
    return made, last, max(validated, default=0)


def rows(run_dir: Path) -> list[dict[str, str]]:
    """Of metrics.csv."""
    with (run_dir / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_a_validation(run: Run, tmp_path: Path) -> None:
    assert run(*TOY, "run_dir=run", "trainer.limit_val_batches=0", "trainer.max_steps=7") == 0
    assert updates(tmp_path / "run") == (7, 7, 0)
    assert run("resume=run", "trainer.max_steps=11") == 0
    assert updates(tmp_path / "run") == (11, 11, 0)


def test_when_time_is_up_in_the_middle_of_an_update(run: Run, tmp_path: Path) -> None:
    slow = f"+callbacks.slow._target_={__name__}.Slow"
    accumulate = ["trainer.accumulate_grad_batches=7", "trainer.max_time=00:00:00:01"]
    seldom = ["trainer.val_check_interval=null", "trainer.check_val_every_n_epoch=10"]
    assert run(*TOY, *NO_LIMIT, *accumulate, *seldom, slow, "run_dir=run") == 0
    made, last, validated = updates(tmp_path / "run")
    assert made == last == validated > 0


def test_a_run_that_time_ended_keeps_its_last_row(run: Run, tmp_path: Path) -> None:
    """Resumed, it has no time left, and is only tested again; with more time it goes on."""
    slow = f"+callbacks.slow._target_={__name__}.Slow"
    limits = ["trainer.max_time=00:00:00:01", "trainer.log_every_n_steps=1000"]
    assert run(*TOY, *NO_LIMIT, *limits, slow, "run_dir=run") == 0
    made, *_ = updates(tmp_path / "run")

    def trained() -> list[int]:
        return [int(row["step"]) for row in rows(tmp_path / "run") if row["train/loss"]]

    assert trained() == [made]
    assert run("resume=run") == 0
    assert trained() == [made]
    assert run("resume=run", "trainer.max_time=null", f"trainer.max_steps={made + 3}") == 0
    assert trained() == [made + 3]
    assert len([row for row in rows(tmp_path / "run") if row["test/loss"]]) == 1


def test_after_epochs_of_changing_length(run: Run, tmp_path: Path) -> None:
    """The last of three has another number of batches than the first, under BPE dropout."""
    cut = ["tokenizer=bpe", "tokenizer.vocab_size=300", "tokenizer.dropout=0.3",
           "batching.tokens=64", "data.train_size=300"]  # fmt: skip
    epochs = ["trainer.max_epochs=3", "trainer.check_val_every_n_epoch=2",
              "trainer.val_check_interval=null"]  # fmt: skip
    assert run(*TOY, *NO_LIMIT, *cut, *epochs, "run_dir=run") == 0
    made, last, validated = updates(tmp_path / "run")
    assert made == last == validated
    progress = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)[
        "loops"
    ]
    assert progress["fit_loop"]["epoch_progress"]["current"]["processed"] == 3


def test_a_run_of_epochs_that_is_done_is_tested_again(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = ["trainer.max_epochs=2", "trainer.log_every_n_steps=5"]
    assert run(*TOY, *NO_LIMIT, *epochs, "run_dir=run") == 0
    first = json.loads((tmp_path / "run" / "results.json").read_text())
    assert first["updates"] % 5
    assert run("resume=run", "trainer.max_epochs=1") == 2
    assert "trainer.max_epochs=1 is fewer than the 2 epochs that run" in capsys.readouterr().err
    for _ in range(2):
        assert run("resume=run") == 0
        assert "it has made 2 epochs already and is tested again" in capsys.readouterr().out
        again = json.loads((tmp_path / "run" / "results.json").read_text())
        rounding = sum(
            0.05 * result["train_seconds"] + 0.0005 * result["tokens_per_second"]
            for result in (first, again)
        )  # of the two figures that are written, to 0.001 s and 0.1 tokens/s
        tokens = first["tokens_per_second"] * first["train_seconds"]
        assert again["tokens_per_second"] * again["train_seconds"] == pytest.approx(
            tokens, abs=rounding + 0.01
        )
        assert updates(tmp_path / "run") == (first["updates"],) * 3


def test_a_moved_run_keeps_its_best(run: Run, tmp_path: Path) -> None:
    assert run(*TOY, "run_dir=run", "trainer.max_steps=20") == 0
    best = (tmp_path / "run" / "checkpoints" / "best.ckpt").read_bytes()
    (tmp_path / "run").rename(tmp_path / "moved")
    worse = ["trainer.max_steps=30", "trainer.val_check_interval=5", "optimizer.lr=1"]
    assert run("resume=moved", *worse) == 0
    assert (tmp_path / "moved" / "checkpoints" / "best.ckpt").read_bytes() == best


def test_the_average_is_what_is_translated_and_the_rest_is_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the last validation, too, after which training does not save again."""
    seen: list[dict[str, torch.Tensor]] = []
    translate = minitf.training.module.translate_texts

    def recorded(model: Any, *arguments: Any) -> Any:
        seen.append({f"model.{k}": v.clone() for k, v in model.state_dict().items()})
        return translate(model, *arguments)

    monkeypatch.setattr(minitf.training.module, "translate_texts", recorded)
    ema = ["callbacks=[ema]", "callbacks.ema.decay=0.99", "run_dir=run"]
    assert run(*TOY, *ema, stops(40)) == 128 + signal.SIGINT
    last = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 40
    for name, weight in last["state_dict"].items():
        assert torch.equal(seen[-1][name], weight)
    own = last["current_model_state"]
    assert any(not torch.equal(own[name], weight) for name, weight in last["state_dict"].items())


def test_a_second_ctrl_c_and_an_error_after_the_first(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(interruption, "SAME_KEY_PRESS", -1.0)
    assert run(*TOY, "run_dir=twice", stops(20, again=True)) == 130
    assert "interrupted" in capsys.readouterr().err
    assert run(*TOY, "run_dir=failed", stops(20, fails=True)) == 130


def test_each_update_is_logged_with_its_own_rate(run: Run, tmp_path: Path) -> None:
    """By value is clipped in half precision, too, where the optimiser is fused."""
    clip = ["trainer.gradient_clip_algorithm=value", "trainer.gradient_clip_val=1e-9"]
    options = ["trainer.precision=bf16-mixed", "trainer.max_steps=12", "run_dir=run"]
    assert run(*TOY, *clip, *options) == 0
    rates = {int(r["step"]): float(r["train/lr"]) for r in rows(tmp_path / "run") if r["train/lr"]}
    assert rates[1] == pytest.approx(1e-3 / 10)  # of ten updates of warm-up
    assert rates[10] == pytest.approx(1e-3)
    assert rates[12] == pytest.approx(1e-3 * (10 / 12) ** 0.5)


def test_keys_of_a_runs_own_callbacks_can_be_changed(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*TOY, "callbacks=[early_stopping,ema]", "run_dir=run", "trainer.max_steps=2") == 0
    changed = ["callbacks.early_stopping.patience=9", "trainer.max_steps=3"]
    assert run("resume=run", *changed) == 0
    out = capsys.readouterr().out
    assert "callbacks.early_stopping.patience=9, it was" in out
    assert out.count("changed    ") == 2
