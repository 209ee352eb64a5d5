"""Every file of configs/ composes, and what is wrong is said in one line with its neighbours."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from minitf.config import UserError
from minitf.config.compose import (
    GROUPS,
    compose_config,
    config_dir,
    load_config,
    options,
    plain,
    require_complete,
    to_dataclass,
)
from minitf.config.schema import Norm, TrainConfig


def test_defaults_fill_the_schema() -> None:
    settings = to_dataclass(compose_config(["run_dir=x"]))
    assert isinstance(settings, TrainConfig)
    assert settings.data.name == "scenes"
    assert settings.model.norm is Norm.pre


@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in GROUPS for option in options(group)]
)
def test_every_option_of_every_group_composes(group: str, option: str) -> None:
    config = compose_config([f"{group}={option}", "run_dir=x"])
    assert "???" not in str(plain(config.model))


def test_every_group_is_a_folder_and_the_other_way_round() -> None:
    folders = {path.name for path in config_dir().iterdir() if path.is_dir()}
    assert folders == set(GROUPS)


def test_an_experiment_overrides_the_groups_it_stands_above() -> None:
    config = compose_config(["debug=overfit", "run_dir=x"])
    assert config.model.dropout == 0.0
    assert config.batching.limit_pairs == 64


@pytest.mark.parametrize("experiment", options("experiment"))
@pytest.mark.parametrize("group", ["attention", "optimizer", "schedule", "tokenizer"])
def test_what_an_experiment_chooses_can_be_chosen_otherwise(group: str, experiment: str) -> None:
    for option in options(group):
        own = OmegaConf.load(config_dir() / group / f"{option}.yaml")
        config = compose_config([f"experiment={experiment}", f"{group}={option}", "run_dir=x"])
        found = OmegaConf.select(config, group)
        for key in ("name", "_target_", "kernel"):
            if key in own:
                assert plain(found)[key] == own[key], option


def test_the_command_line_overrides_the_experiment() -> None:
    assert compose_config(["debug=overfit", "model.dropout=0.3", "run_dir=x"]).model.dropout == 0.3


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("modl.embed_dim=3", ["no key or group 'modl'", "did you mean model?"]),
        ("model.embed_dimm=3", ["model has no key 'embed_dimm'", "did you mean embed_dim?"]),
        ("+model.embed_dimm=3", ["model has no key 'embed_dimm'", "did you mean embed_dim?"]),
        ("model=tinny", ["model=tinny: no such option", "did you mean tiny?", "base, big, nano"]),
        ("datta=scenes", ["no key or group 'datta'", "did you mean data?"]),
        ("data=scens", ["data=scens", "did you mean scenes?", "text_files"]),
        ("data.trainsize=5", ["data has no key 'trainsize'", "did you mean train_size?"]),
        ("model.norm=pree", ["model.norm", "'pree'", "pre, post"]),
        ("model.embed_dim=abc", ["model.embed_dim", "'abc'", "Integer"]),
        ("model.embed_dim=1.5", ["model.embed_dim", "'1.5'", "Integer"]),
        ("model.embed_dim", ["cannot read 'model.embed_dim'", "KEY=VALUE"]),
        ("model=null", ["a group takes the name of one of its options, not null", "tokenizer"]),
        ("data.root=~/corpus", ["cannot read 'data.root=~/corpus'", "quote", "~"]),
        ("run_dir=a=b", ["cannot read 'run_dir=a=b'", "quote"]),
        ("trainer.max_step=3", ["did you mean max_steps?", "+trainer.max_step=VALUE"]),
        ("attention=my.Attention", ["attention=my.Attention", "attention._target_="]),
        ("attention.kernle=fast", ["attention has no key 'kernle'", "did you mean kernel?"]),
        ("seed=null", ["seed", "not Optional"]),
        ("schedule=noam", ["schedule=noam: no such option", "inverse_sqrt"]),
        ("evaluation.decoding.beam=5", ["did you mean beam_size?"]),
        ("evaluation.decoding=[1]", ["evaluation.decoding"]),
        ("optimizer.betas=3", ["optimizer.betas takes a list, as in optimizer.betas=[A,B]"]),
        ("lr=2e-3", ["no key or group 'lr'", "did you mean optimizer.lr?"]),
        ("dropout=0.1", ["did you mean tokenizer.dropout or model.dropout?"]),
        ("trainer.lr=1", ["trainer has no key 'lr'", "did you mean optimizer.lr?"]),
        ("callbacks=emma", ["did you mean ema?"]),
    ],
)
def test_a_mistake_is_one_line_that_names_it_and_its_neighbours(
    override: str, parts: list[str]
) -> None:
    with pytest.raises(UserError) as caught:
        compose_config([override])
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_a_misspelt_key_in_a_stored_file_is_refused(tmp_path: Path) -> None:
    stored = plain(compose_config(["run_dir=x"]))
    stored["model"]["droput"] = 0.5
    path = tmp_path / "config.yaml"
    OmegaConf.save(OmegaConf.create(stored), path)
    with pytest.raises(UserError, match=r"config\.yaml is not .* 'droput'; did you mean dropout"):
        load_config(path)


def test_a_stored_configuration_reads_back_the_same(tmp_path: Path) -> None:
    config = compose_config(["data=reverse", "model=base", "run_dir=x"])
    path = tmp_path / "config.yaml"
    OmegaConf.save(OmegaConf.create(plain(config)), path)
    assert plain(load_config(path)) == plain(config)
    assert to_dataclass(load_config(path)) == to_dataclass(config)


def test_a_missing_value_is_named() -> None:
    with pytest.raises(UserError, match=r"no value for data\.root; give it, as in data\.root="):
        require_complete(compose_config(["data=text_files", "run_dir=x"]))


def test_no_stored_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is none at .*config\.yaml"):
        load_config(tmp_path / "config.yaml")


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("optimizer.lr=${nope}", "optimizer.lr: Interpolation key 'nope' not found"),
        (
            "optimizer.betas=[0.9,'${model.nope}']",
            r"optimizer.betas\[1\]: .*'model.nope' not found",
        ),
        ("+attention.far='${oc.env:MINITF_NOPE}'", "attention.far: .*'MINITF_NOPE' not found"),
    ],
)
def test_a_reference_to_nothing_is_named(override: str, named: str) -> None:
    with pytest.raises(UserError, match=named):
        require_complete(compose_config([override, "run_dir=x"]))
