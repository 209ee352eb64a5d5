"""What `python train.py` refuses, in one line and without a trace, and what `--help` says."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from minitf.training.command import main
from tests.integration.conftest import TOY, Train


def test_a_start_that_is_refused_leaves_nothing(train: Train, tmp_path: Path) -> None:
    assert train("run_dir=good", "trainer.max_steps=2").returncode == 0
    endless = ("schedule=cosine", "trainer.max_steps=-1", "+trainer.max_time=00:00:01:00")
    for overrides in (["optimizer.lr=-1"], ["trainer.precision=float12"], ["data.train_size=0"],
                      endless):  # fmt: skip
        assert train(*overrides).returncode == 2
    assert (tmp_path / "outputs" / "latest").resolve() == tmp_path / "good"
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["latest"]


@pytest.mark.parametrize("split", ["train", "test"])
def test_learned_positions_that_are_too_few_are_told_before_training(
    train: Train, tmp_path: Path, split: str
) -> None:
    for name in ("train", "val", "test"):
        text = "a b c d e f g h\n" if name == split else "a b\n"
        for lang in ("en", "de"):
            (tmp_path / f"{name}.{lang}").write_text(text)
    data = ["data=text_files", f"data.root={tmp_path}", "data.tests=[test]", "tokenizer=char"]
    done = train(
        *data,
        "model=nano",
        "model.positions=learned",
        "model.max_length=9",
        "run_dir=run",
        toy=False,
    )
    assert done.returncode == 2
    assert f"but a sentence of {split} has 16 tokens: raise model.max_length" in done.stderr
    assert not (tmp_path / "run").exists()


def test_learned_positions_bound_what_dropout_may_cut(train: Train) -> None:
    done = train("model.positions=learned", "model.max_length=20", "tokenizer=bpe",
                 "tokenizer.dropout=0.1")  # fmt: skip
    assert done.returncode == 2
    assert "tokenizer.dropout cuts sentences into up to batching.max_length=256" in done.stderr


def test_a_run_directory_is_not_written_over(train: Train) -> None:
    assert train("run_dir=one", "trainer.max_steps=2").returncode == 0
    again = train("run_dir=one", "trainer.max_steps=2")
    assert again.returncode == 2
    assert re.fullmatch(
        r"error: .*one holds a run already; choose another run_dir, .*\n", again.stderr
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["modl=tiny"], "there is no key or group 'modl'; did you mean model?"),
        (["model.num_heads=3"], "model.embed_dim must be a multiple of model.num_heads"),
        (["trainer.precision=float12"], "trainer: Precision 'float12' is invalid"),
        (["--model", "tiny"], "an option is written without dashes: model=tiny"),
        (["-trainer.max-steps=3"], "an option is written without dashes: trainer.max_steps=3"),
        (["--max-steps=3"], "an option is written without dashes: trainer.max_steps=3"),
        (["attention=custom,torch"], "attention=custom,torch: several values are a sweep, with -m"),
        (["+trainer.max_stepz=3"], "trainer has no key 'max_stepz'; did you mean max_steps?"),
        (["attention._target_=my.Attention"], "my.Attention"),
        (["resume=nowhere"], "resume=nowhere: no such run directory"),
        (["schedule=cosine", "trainer.max_steps=-1", "trainer.max_epochs=-1"], "run's end"),
        (["data.train_size=0"], "train_size"),
        (
            ["callbacks=early_stopping", "callbacks.early_stopping.monitor=val/blue"],
            "val/blue` which is not available",
        ),
        (["trainer.check_val_every_n_epoch=1", "trainer.val_check_interval=999"], "val_check_int"),
        (
            ["optimizer.lr=1e9", "trainer.max_steps=3", "trainer.log_every_n_steps=50"],
            "the validation loss became nan at update 3; try a lower optimizer.lr",
        ),
        (
            ["evaluation.decoding.method=sample", "evaluation.decoding.beam_size=3"],
            "evaluation.decoding.beam_size is read with method=beam only; received method=sample",
        ),
        (["trainer.accelerator=tpu"], "trainer: "),
        (["+trainer.enable_model_summary=true"], "enable_model_summary is set by minitf; leave it"),
        (["run_dir="], "run_dir= has no value: name a directory, or leave it out"),
        (["+nonsense=1"], "there is no key or group 'nonsense'"),
        (["optimizer.lr=${nope}"], "optimizer.lr: Interpolation key 'nope' not found"),
        (["callbacks=ema", "+callbacks.ema.dekay=0.5"], "dekay"),
        (["evaluation.average_last=2", "evaluation.average_best=3"], "exclude each other"),
        pytest.param(
            ["attention.kernel=flex"],
            "attention: kernel='flex'",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="flex trains on a GPU"),
        ),
    ],
)
def test_a_mistake_ends_with_one_line(
    overrides: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *TOY, *overrides])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # main sets it: let pytest take it back
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("error: ")
    assert said.count("\n") == 1, said
    assert message in said


def test_a_mistake_in_a_process_of_its_own(train: Train) -> None:
    done = train("model.num_heads=3")
    assert done.returncode == 2
    assert done.stderr == (
        "error: model.embed_dim must be a multiple of model.num_heads, "
        "got embed_dim=16 and num_heads=3\n"
    )


def test_help_lists_groups_and_examples(train: Train) -> None:
    done = train("--help", toy=False)
    assert done.returncode == 0
    assert "attention: custom, fast, torch" in done.stdout
    assert "python train.py resume=outputs/latest" in done.stdout
    assert "schema" not in done.stdout


@pytest.mark.parametrize(
    ("place", "error", "message"),
    [
        (
            "module.TranslationModule.training_step",
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            "the device is out of memory after update 0: take a smaller batching.tokens "
            "(it is 997), with more trainer.accumulate_grad_batches",
        ),
        (
            "module.TranslationModule.training_step",
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            "the device is out of memory after update 0: take a smaller batching.tokens "
            "(it is 997), with more trainer.accumulate_grad_batches",
        ),
        (
            "run.evaluate",
            MemoryError(),
            "out of memory: the run can be tested again, with a smaller "
            "evaluation.decoding.batch_tokens",
        ),
    ],
)
def test_a_lack_of_memory_says_what_takes_less(
    place: str,
    error: Exception,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(f"minitf.training.{place}", full)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *TOY, "batching.tokens=997"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said == f"error: {message}\n"
