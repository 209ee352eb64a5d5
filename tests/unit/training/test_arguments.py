"""What is typed after train.py reaches Hydra as it was meant."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from minitf.config import UserError
from minitf.config.compose import compose_config, plain
from minitf.training.arguments import prepared
from minitf.training.resume import resumed


@pytest.mark.parametrize(
    ("typed", "taken"),
    [
        (["model=tiny", "-m", "seed=1,2"], ["-m", "model=tiny", "seed=1,2"]),
        (["data=reverse", "--cfg", "job", "seed=3"], ["--cfg", "job", "data=reverse", "seed=3"]),
        (["--info", "seed=3"], ["--info", "seed=3"]),
        (["run_dir=2026_11_27"], ['run_dir="2026_11_27"']),
        (["run_dir=1.10", "data.root=1_000"], ['run_dir="1.10"', 'data.root="1_000"']),
        (["run_dir=27", "data.seed=3", "optimizer.lr=1.0e-3"],) * 2,
        (["++run_dir=1.10", "run_dir=true"], ['++run_dir="1.10"', 'run_dir="true"']),
        (["data.tests=[2016_1, b,1.10,für]"], ['data.tests=["2016_1",b,"1.10","für"]']),
        (["data.tests=[]"],) * 2,
        (["data.tests=[a,b]", "data.val=null"],) * 2,
        (["logger.wandb.group=2026_11"], ['logger.wandb.group="2026_11"']),
        (["run_dir=größe"], ['run_dir="größe"']),
        (["+data.tests.vä=m/val.csv"],) * 2,
    ],
)
def test_flags_and_names(typed: list[str], taken: list[str]) -> None:
    assert prepared(typed) == taken


@pytest.mark.parametrize("name", ["2026_11_27", "1.10", "1e3"])
def test_a_name_is_not_read_as_a_number(name: str) -> None:
    config = compose_config(prepared([f"run_dir={name}", "data=text_files", f"data.root={name}"]))
    assert (config.run_dir, config.data.root) == (name, name)


def test_on_resume_an_override_speaks_of_the_run(tmp_path: Path) -> None:
    own = ["data=reverse", "trainer.max_steps=7", "evaluation.samples=0", "callbacks=ema"]
    config = compose_config([*own, f"run_dir={tmp_path}"])
    OmegaConf.save(OmegaConf.create(plain(config)), tmp_path / "config.yaml")
    typed = ["schedule.decay_steps=${trainer.max_steps}", "evaluation={val_bleu_sentences: 3}",
             "data.max_length=9", "callbacks.ema.decay=0.5", "+trainer.min_steps=2"]  # fmt: skip
    arguments = prepared([f"resume={tmp_path}", *typed])
    found = resumed(compose_config(arguments), arguments)
    assert found.schedule.decay_steps == 7
    assert (found.evaluation.val_bleu_sentences, found.evaluation.samples) == (3, 0)
    assert found.data.max_length == 9
    assert found.callbacks.ema.decay == 0.5
    assert found.trainer.min_steps == 2
    assert found.trainer.max_steps == 7
    for typed in (["callbacks=[ema]"], ["callbacks=ema"]):  # a group replaces the stored group
        arguments = prepared(["--cfg", "job", f"resume={tmp_path}", *typed])
        assert arguments[:2] == ["--cfg", "job"]
        OmegaConf.update(config, "callbacks.ema.decay", 0.5)
        OmegaConf.save(OmegaConf.create(plain(config)), tmp_path / "config.yaml")
        found = resumed(compose_config(arguments[2:]), arguments[2:])
        assert found.callbacks.ema.decay == 0.999


def test_on_resume_one_of_a_list_and_some_of_a_group(tmp_path: Path) -> None:
    own = ["data=text_files", "data.root=x", "data.tests=[a,b]", "optimizer.weight_decay=0.7"]
    config = compose_config([*own, f"run_dir={tmp_path}"])
    OmegaConf.save(OmegaConf.create(plain(config)), tmp_path / "config.yaml")
    for typed, tests in (("data.tests=[c,d,e]", ["c", "d", "e"]), ("data.tests.0=c", ["c", "b"])):
        arguments = prepared([f"resume={tmp_path}", typed, "optimizer={lr: 0.5}"])
        found = resumed(compose_config(arguments), arguments)
        assert found.data.tests == tests
        assert (found.optimizer.lr, found.optimizer.weight_decay) == (0.5, 0.7)


@pytest.mark.parametrize("flag", ["-m", "--multirun"])
def test_a_sweep_goes_on_in_no_run(tmp_path: Path, flag: str) -> None:
    with pytest.raises(UserError, match=r"leave -m or resume out"):
        prepared([flag, f"resume={tmp_path}", "trainer.max_steps=30,60"])
