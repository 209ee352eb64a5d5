"""A whole run of the default model does not notice whose attention it has: not by one bit."""

import csv

import pytest
import torch

no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, no_gpu])])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_whole_runs_with_dropout(train, tmp_path, precision, device):
    """Losses and gradient norms of all 3,000 updates, scores, final parameters; about an hour.

    On a GPU the test's loss is left out: it is computed in float32 without autocast, where torch
    takes its inference path, whose order of operations is another one there.
    """
    more = [] if device == "cpu" else ["cuda_graphs=true", "trainer.deterministic=true"]
    for attention in ("custom", "torch"):
        done = train(
            f"attention={attention}", f"run_dir={attention}", f"trainer.precision={precision}",
            "model.dropout=0.1", "model.attention_dropout=0.1", "trainer.log_every_n_steps=1",
            f"trainer.accelerator={device}", *more, "logger=csv", toy=False, timeout=3600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
    ours, theirs = (numbers(tmp_path / name / "metrics.csv") for name in ("custom", "torch"))
    assert len(ours) > 3000
    if device == "cuda":
        ours, theirs = ([r for r in rows if r["train/loss"] or r["val/loss"]]
                        for rows in (ours, theirs))  # fmt: skip
        assert len(ours) > 3000
    assert ours == theirs
    ours, theirs = (
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("custom", "torch")
    )
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def numbers(metrics):
    """Every row of metrics.csv, without how long it took."""
    with metrics.open() as file:
        return [
            {name: value for name, value in row.items() if "per_second" not in name}
            for row in csv.DictReader(file)
        ]
