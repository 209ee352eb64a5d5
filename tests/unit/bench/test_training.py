"""Every library builds the same model, and trains on the same batches."""

import importlib
import importlib.util
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from minitf.bench.hardware import training_flops
from minitf.bench.rounds import Implementation, Measured, measure
from minitf.bench.rows import Row
from minitf.bench.task import BareLoop, TrainingTask, load_batches, num_parameters
from minitf.bench.training import (
    BARE,
    StoredBatches,
    best_rows,
    compose_settings,
    implementations,
    row,
    run,
    store_batches,
    task_of,
)
from minitf.config import UserError
from minitf.config.schema import TrainConfig

PACKAGE = {
    "hugging_face:marian": "transformers",
    "hugging_face:m2m100": "transformers",
    "lucidrains": "x_transformers",
}
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning")
OVERRIDES = (
    "data=reverse", "data.train_size=203", "tokenizer=char", "batching.tokens=128",
    "model.embed_dim=24", "model.num_heads=3", "model.feedforward_dim=40", "logger=csv",
    "trainer.accelerator=cpu", "trainer.limit_val_batches=0", "trainer.max_steps=99",
    "trainer.gradient_clip_val=1.0", "evaluation.val_bleu_sentences=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def settings() -> TrainConfig:
    return compose_settings(OVERRIDES)


@pytest.fixture(scope="module")
def stored(settings: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> StoredBatches:
    return store_batches(settings, tmp_path_factory.mktemp("stored"), rounds=2, positions=256)


@pytest.fixture
def task(settings: TrainConfig, stored: StoredBatches) -> TrainingTask:
    return task_of(settings, stored, "cpu")


def build(library: str, task: TrainingTask) -> Any:
    if library in PACKAGE:
        pytest.importorskip(PACKAGE[library], reason="pip install 'minitf[bench]'")
    module, _, function = library.partition(":")
    place = importlib.import_module(f"minitf.bench.alternatives.{module}")
    torch.manual_seed(5)
    return getattr(place, function or "build")(task)


@pytest.mark.parametrize("library", BARE.values())
@pytest.mark.parametrize("pre_norm", [True, False])
def test_the_libraries_models_have_the_same_size(
    library: str, pre_norm: bool, task: TrainingTask
) -> None:
    sizes = {"embed_dim": 64, "num_heads": 4, "feedforward_dim": 144, "vocab_size": 499}
    task = replace(task, pre_norm=pre_norm, **sizes)
    own, _ = build("own", task)
    model, _ = build(library, task)
    # Some have no biases, or a normalisation more.
    assert num_parameters(model) == pytest.approx(num_parameters(own), rel=0.03)


@pytest.mark.parametrize("library", BARE.values())
def test_the_loss_is_per_target_token_and_falls(library: str, task: TrainingTask) -> None:
    task = replace(task, dropout=0.0, lr=3e-3)
    model, loss = build(library, task)
    batch = load_batches(task)[0][0]
    loop = BareLoop(model, loss, task)
    first = float(loss(batch).detach())
    # A fresh model guesses among the vocabulary's 24 letters; smoothing leaves that as it is.
    assert first == pytest.approx(torch.tensor(float(task.vocab_size)).log().item(), rel=0.35)
    for _ in range(9):
        loop.update(batch)
    assert float(loss(batch).detach()) < first - 0.3


def test_padding_changes_no_librarys_loss(task: TrainingTask) -> None:
    """What torch.nn.Transformer is told about masks is right: minitf's is tested elsewhere."""
    batch = load_batches(task)[0][0]
    longer = replace(
        batch,
        src=torch.nn.functional.pad(batch.src, (0, 3), value=task.pad_id),
        tgt=torch.nn.functional.pad(batch.tgt, (0, 3), value=task.pad_id),
    )
    for library in BARE.values():
        if library in PACKAGE and not importlib.util.find_spec(PACKAGE[library]):
            continue
        model, loss = build(library, replace(task, dropout=0.0))
        model.eval()
        torch.testing.assert_close(loss(longer), loss(batch), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_workers_train_on_the_very_batches_of_the_fit(
    task: TrainingTask, settings: TrainConfig, stored: StoredBatches
) -> None:
    assert stored.steps == 2
    everybody = {one.name: one for one in implementations(task, settings)}
    bare, fit = measure([everybody["minitf"], everybody["minitf fit"]], rounds=1)
    assert bare.error is None, bare.error
    assert fit.error is None, fit.error  # it asserts that its batches are the stored ones
    assert bare.facts == fit.facts
    expected = sum(tgt for _, tgt in stored.tokens[2:])
    assert [r["tokens"] for r in (*bare.rounds, *fit.rounds)] == [expected, expected]


@pytest.mark.slow
def test_the_trainer_of_hugging_face_takes_turns_too(task: TrainingTask) -> None:
    pytest.importorskip("accelerate", reason="pip install 'minitf[bench]'")
    place = "minitf.bench.alternatives.seq2seq_trainer"
    [found] = measure([Implementation("hf", place, "run", {"task": asdict(task)})], rounds=1)
    assert found.error is None, found.error
    assert len(found.rounds) == 1


def test_a_rows_figures_are_worked_out_by_hand(task: TrainingTask) -> None:
    rounds = [{"tokens": 30, "seconds": s} for s in (1.0, 2.0, 3.0)]
    measured = Measured("minitf", rounds=rounds, peak_memory=5.0)
    small = replace(
        task, steps=1, embed_dim=2, feedforward_dim=3, num_encoder_layers=1, num_decoder_layers=1,
        vocab_size=7,
    )  # fmt: skip
    # Encoder 4·4 + 2·6 = 28, cross keys and values 8; decoder 24 + 12 = 36, projection 14.
    assert training_flops(small, 10, 30) == 6 * (36 * 10 + 50 * 30)
    tokens = [(99, 99), (10, 30), (10, 30), (10, 30)]
    found = row("training/x/float32/cpu", measured, small, tokens, peak=1e6)
    assert found.value == 15
    assert found.spread == pytest.approx(20 / 15)  # quartiles 10 and 30
    assert found.peak_share == pytest.approx(6 * 1860 / 2 / 1e6)
    assert row("w", measured, small, tokens, peak=None).peak_share is None


def test_the_best_row_of_each_is_at_its_own_best() -> None:
    rows = [
        Row("training/tiny/float32/cpu", "minitf", 5.0, "tokens/s"),
        Row("training/tiny/float32/cpu", "other", 2.0, "tokens/s"),
        Row("training/tiny/bfloat16/cpu", "minitf", 4.0, "tokens/s"),
        Row("training/tiny/bfloat16/cpu", "other", 4.0, "tokens/s"),
        Row("training/small/float32/cpu", "other", 9.0, "tokens/s"),
    ]
    best = best_rows(rows, "tiny", "cpu")
    assert [(r.name, r.value, r.ratio, r.note) for r in best] == [
        ("minitf", 5.0, 1.25, "in float32"),
        ("other", 4.0, 1.0, "in bfloat16"),
    ]
    assert {r.work for r in best} == {"training/tiny/best/cpu"}
    assert best_rows(rows, "small", "cpu") == []


def test_a_root_is_good_in_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = compose_settings(["data=text_files", "data.root=there"])
    assert settings.data.root == str(tmp_path / "there")
    with pytest.raises(UserError, match=r"data\.root"):
        compose_settings(["data=text_files"])


@pytest.mark.parametrize(
    ("override", "advice"),
    [
        ("trainer.precision=bf16-mixed", "use --precision"),
        ("callbacks=ema", "it would change one row alone"),
        ("schedule.warmup_steps=3", "it would change one row alone"),
        ("schedule=cosine", "which every library can do; leave out schedule=cosine"),
    ],
)
def test_what_would_reach_one_row_alone_is_refused(override, advice):
    with pytest.raises(UserError, match=advice):
        run(quick=True, overrides=[override])
