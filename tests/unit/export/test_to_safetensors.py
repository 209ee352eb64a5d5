"""A safetensors export is read back bit for bit, and nothing else passes for one."""

import dataclasses
import json
import shutil

import pytest
import torch

import minitf
from minitf.config.errors import UserError
from minitf.config.schema import TextFilesConfig, TokenizerConfig
from minitf.export import export

TEXTS = ["A small dog sleeps.", "", "Why does </s> nobody laugh at Gänse?"]


@pytest.fixture
def exported(load_with, tmp_path):
    export(load_with("pre_untied"), "safetensors", tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize(
    "name",
    ["pre_sinusoidal", "post_two_way", "pre_learned", "no_bias", "rotary", "swiglu", "bias_kv"],
)
def test_reads_back_bit_for_bit(load_with, tokens, tmp_path, name):
    translator = load_with(name)
    assert export(translator, "safetensors", tmp_path / "out").passed
    loaded = minitf.load(tmp_path / "out", device="cpu")
    with torch.inference_mode():
        assert torch.equal(loaded.model(*tokens(loaded)), translator.model(*tokens(translator)))
    assert loaded.translate(TEXTS, n_best=2) == translator.translate(TEXTS, n_best=2)
    assert loaded.config.model == translator.config.model
    assert loaded.config.optimizer == translator.config.optimizer


def test_tied_weights_are_stored_once_and_tied_again(load_with, tmp_path):
    export(load_with("pre_sinusoidal"), "safetensors", tmp_path / "out")
    loaded = minitf.load(tmp_path / "out", device="cpu").model
    assert loaded.src_embedding.weight is loaded.output_projection.weight
    size = (tmp_path / "out" / "model.safetensors").stat().st_size
    assert size < 4 * sum(p.numel() for p in loaded.parameters()) + 10_000


def test_an_export_of_an_export_is_the_same(exported, tmp_path):
    export(minitf.load(exported, device="cpu"), "safetensors", tmp_path / "again")
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (exported / file).read_bytes() == (tmp_path / "again" / file).read_bytes()


def test_nobody_is_told_where_the_data_lay(run_of, tmp_path):
    translator = minitf.load(run_of("pre_untied"), device="cpu")
    data = TextFilesConfig(root="/home/me/secret", train="~/secret/train", lowercase=True)
    tokenizer = TokenizerConfig(path="/home/me/secret/tokenizer.json")
    config = dataclasses.replace(translator.config, data=data, tokenizer=tokenizer)
    export(dataclasses.replace(translator, config=config), "safetensors", tmp_path / "out")
    assert "secret" not in (tmp_path / "out" / "config.json").read_text()
    assert minitf.load(tmp_path / "out", device="cpu").lowercases


def test_the_attention_chosen_for_the_export_is_stored(run_of, tmp_path):
    translator = minitf.load(run_of("pre_sinusoidal"), device="cpu", attention="torch")
    export(translator, "safetensors", tmp_path / "out")
    loaded = minitf.load(tmp_path / "out", device="cpu")
    assert type(loaded.model.encoder.layers[0].self_attn) is torch.nn.MultiheadAttention


class Sharp(torch.nn.MultiheadAttention):
    """A user's own."""


def test_a_users_own_class_has_to_be_named_again(run_of, tmp_path):
    translator = minitf.load(run_of("pre_sinusoidal"), device="cpu", attention=Sharp)
    export(translator, "safetensors", tmp_path / "out")
    with pytest.raises(UserError, match=r"name it yourself, with --attention .*Sharp"):
        minitf.load(tmp_path / "out", device="cpu")
    loaded = minitf.load(tmp_path / "out", device="cpu", attention=Sharp)
    assert loaded.translate(TEXTS) == translator.translate(TEXTS)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_torn_file_is_named(exported, file):
    path = exported / file
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=file.replace(".", r"\.")) as caught:
        minitf.load(exported, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"config": None}, {"config": {}}, {"config": {"data": {"name": "???"}}}, {"shared": None},
        {"config": {"attention": []}}, {"shared": {"src_embedding.weight": ["a"]}},
    ],
)  # fmt: skip
def test_a_spoilt_configuration_is_named(exported, change):
    path = exported / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=r"config\.json") as caught:
        minitf.load(exported, device="cpu")
    assert "\n" not in str(caught.value)


def test_a_missing_weight_file_is_named(exported):
    (exported / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"holds no model\.safetensors"):
        minitf.load(exported)


def test_another_runs_tokenizer_does_not_fit(exported, run_of, tmp_path):
    path = exported / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["merges"].pop()
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="not the tokenizer that the model was trained with"):
        minitf.load(exported)
    shutil.copy(run_of("pre_untied") / "tokenizer.json", path)
    assert minitf.load(exported, device="cpu").translate(TEXTS)


def test_another_engines_config_is_told_apart(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "marian"}))
    with pytest.raises(UserError, match="export for another engine"):
        minitf.load(tmp_path)


def test_a_checkpoint_cannot_be_chosen_in_an_export(exported):
    with pytest.raises(UserError, match="is an export"):
        minitf.load(exported, checkpoint="best")


def test_the_example_of_the_model_card_runs(load_with, exported, run_example):
    run_example(load_with("pre_untied"), exported)
