"""A model that training made, through every command; the measured figures agree."""

import json

import pytest

import minitf
from minitf.commands import main

pytestmark = pytest.mark.slow


@pytest.fixture
def run_dir(train, tmp_path):
    done = train(
        "data.train_size=3000", "model.embed_dim=48", "model.feedforward_dim=96",
        "trainer.max_steps=600", "trainer.val_check_interval=100", "batching.tokens=1024",
        "schedule.warmup_steps=100", "optimizer.lr=0.003", "evaluation.average_last=2",
        "run_dir=run",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return tmp_path / "run"


def test_what_training_reports_is_what_the_commands_find(run_dir, tmp_path, capsys):
    reported = json.loads((run_dir / "results.json").read_text())["test"]
    assert reported["bleu"] > 30, "the test needs a model that learned"

    found = {}
    for attention in ("custom", "torch"):
        options = ["--device", "cpu", "--attention", attention, "--json"]
        assert main(["evaluate", str(run_dir), *options]) == 0
        found[attention] = json.loads(capsys.readouterr().out)[0]["results"][0]
        assert found[attention]["bleu"] == pytest.approx(reported["bleu"])
        assert found[attention]["loss"] == pytest.approx(reported["loss"], rel=1e-5)

    texts = ["a b c d", "q p", "f e d c b"]
    as_trained = minitf.load(run_dir, device="cpu")
    assert as_trained.origin.endswith("average.ckpt")
    for options in ({}, {"beam_size": 4}):
        with_torch = minitf.load(run_dir, device="cpu", attention="torch")
        assert with_torch.translate(texts, **options) == as_trained.translate(texts, **options)

    output = tmp_path / "export"
    assert main(["export", str(run_dir), "--to", "safetensors", "--output", str(output)]) == 0
    assert minitf.load(output, device="cpu").translate(texts) == as_trained.translate(texts)
    assert f"{reported['bleu']:.2f}" in (output / "README.md").read_text()
