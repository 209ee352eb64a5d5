"""An export appears whole or not at all, with a card that tells where it came from."""

import dataclasses
import json
import os
import shutil
import types
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import minitf
from minitf.config.compose import compose_config, plain
from minitf.config.errors import UserError
from minitf.evaluation.checkpoints import find_weights
from minitf.export import export
from minitf.export.command import overrides, training_command
from minitf.export.model_card import _front_matter, model_card
from minitf.export.parts import Check

RESULTS = {
    "test": {
        "sentences": 1000, "loss": 1.2345, "perplexity": 3.44, "bleu": 41.02, "chrf": 60.5,
        "exact_match": 12.5, "signatures": {"bleu": "nrefs:1|tok:13a"},
    },
    "updates": 8000, "train_seconds": 321.0, "device": "CPU",
}  # fmt: skip


def test_the_card_tells_data_recipe_scores_licence_and_command(run_of, load_with, tmp_path):
    run = shutil.copytree(run_of("post_two_way"), tmp_path / "run")
    (run / "results.json").write_text(json.dumps(RESULTS))
    (run / "samples.txt").write_text("source      a b'c\ntranslation x\n")
    card = model_card(minitf.load(run, device="cpu"), "safetensors", "my-model", run)
    assert card.startswith("---\nlibrary_name: minitf\n")
    for part in (
        "# my-model", "data=reverse", "norm=post", "tied_embeddings=two_way", "betas=[0.9, 0.98]",
        "| test | 1,000 | 1.2345 | 3.44 | 41.02 | 60.50 | 12.5 % |", "`nrefs:1|tok:13a`",
        "updates=8000, train_seconds=321.0, device=CPU", "a b'c", "## Licence", "terms of the data",
        "python train.py data=reverse", "decoded with method=greedy.",
    ):  # fmt: skip
        assert part in card
    tested = minitf.load(run, device="cpu", checkpoint=os.path.relpath(find_weights(run).origin))
    assert "41.02" in model_card(tested, "safetensors", "my-model", run)  # by another name
    assert "Not measured" in model_card(load_with("post_two_way"), "onnx", "x", tmp_path / "none")
    other = minitf.load(run, device="cpu", checkpoint="average:last:2")  # nobody tested these
    assert "41.02" not in model_card(other, "safetensors", "my-model", run)


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["data=scenes", "data.seed=5"],
        ["attention=torch", "model=tiny", "optimizer=adam", "schedule=cosine", "seed=7"],
        ["attention.kernel=math", "tokenizer=char", "optimizer.betas=[0.9,0.99]"],
        [
            "+trainer.barebones=false",
            "~trainer.gradient_clip_val",
            "data=text_files",
            "data.root='/a b/$x, [c]'",
        ],
        ["data=table", "data.train=a", "data.val=b", "data.src='französisch'", "data.tgt='null'"],
        ["data=table", "data.train='a\\b\"c'", "data.val=b", "data.src='true'", "data.tgt='ä'"],
        ["data=table", "data.train='a\\\\'", "data.val=b", "data.src='x\\\\\"y'", "data.tgt=d"],
        ["callbacks=ema", "batching.tokens=null", "batching.sentences=16"],
        ["data=table", "data.root=.", "data.train=a.csv", "data.val=b", "+data.tests={x: 'y,z'}"],
    ],
)
def test_the_command_leads_to_the_same_configuration(given):
    config = compose_config([*given, "run_dir=x"])
    typed = OmegaConf.to_object(config)
    again = compose_config([*overrides(typed), "run_dir=x"])
    expected, found = plain(config), plain(again)
    expected.pop("logger")
    found.pop("logger")
    assert found == expected


def test_the_command_does_not_tell_where_the_data_lie():
    config = compose_config(
        ["data=text_files", "data.root=/home/me/secret", "run_dir=x",
         "tokenizer.path=/home/me/secret/tokenizer.json"]
    )  # fmt: skip
    command = training_command(OmegaConf.to_object(config))
    assert "secret" not in command
    assert "data.root=DIR" in command
    config = compose_config(
        ["data=table", "data.train=/home/me/secret/train.csv", "data.val=val.csv",
         "+data.tests={new: '~/secret/new.csv'}", "run_dir=x"]
    )  # fmt: skip
    command = training_command(OmegaConf.to_object(config))
    assert "secret" not in command
    assert "data.train=train.csv" in command.replace('"', "")
    assert "data.val=val.csv" in command.replace('"', "")


def test_a_directory_that_is_taken_is_refused(load_with, tmp_path):
    (tmp_path / "out").mkdir()
    export(load_with("pre_untied"), "safetensors", tmp_path / "out")  # an empty one will do
    before = (tmp_path / "out" / "config.json").read_bytes()
    with pytest.raises(UserError, match="is there already"):
        export(load_with("no_bias"), "safetensors", tmp_path / "out")
    assert (tmp_path / "out" / "config.json").read_bytes() == before
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is there already"):
        export(load_with("no_bias"), "safetensors", tmp_path / "file")


@pytest.mark.parametrize("place", [".", "link", "dangling"])
def test_an_empty_place_may_be_anywhere(load_with, tmp_path, monkeypatch, place):
    there = tmp_path / "there"
    if place != "dangling":
        there.mkdir()
    (tmp_path / "link").symlink_to(there)
    (tmp_path / "dangling").symlink_to(there)
    monkeypatch.chdir(there if place == "." else tmp_path)
    export(load_with("pre_untied"), "safetensors", Path(place))
    assert sorted(file.name for file in there.iterdir()) == [
        "README.md", "config.json", "model.safetensors", "tokenizer.json"
    ]  # fmt: skip
    assert minitf.load(place, device="cpu").translate(["a"])
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/x cannot be written: Not a directory"):
        export(load_with("pre_untied"), "safetensors", tmp_path / "file" / "x")


def test_a_move_that_fails_leaves_an_empty_place_empty(load_with, tmp_path, monkeypatch):
    rename = Path.rename

    def fail(self, target):
        if self.name == "tokenizer.json":
            raise OSError(28, "No space left on device", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space"):
        export(load_with("pre_untied"), "safetensors", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_languages_are_texts():
    assert '- "no"' in _front_matter("onnx", {"name": "text_files", "src": "en", "tgt": "no"})


def test_a_failure_leaves_nothing_behind(load_with, tmp_path, monkeypatch):
    def fail(translator, directory):
        (directory / "half").write_text("x")
        raise OSError(28, "No space left on device", "half")

    broken = types.SimpleNamespace(write=fail, check=lambda *_: Check(True, ""))
    monkeypatch.setattr("importlib.import_module", lambda name: broken)
    with pytest.raises(OSError, match="No space"):
        export(load_with("pre_untied"), "safetensors", tmp_path / "deep" / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_fails_its_check_is_not_kept(load_with, tmp_path, monkeypatch):
    broken = types.SimpleNamespace(write=lambda *_: None, check=lambda *_: Check(False, "by 3"))
    monkeypatch.setattr("importlib.import_module", lambda name: broken)
    with pytest.raises(UserError, match=r"does not compute what the model does \(by 3\)"):
        export(load_with("pre_untied"), "onnx", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ['{"test": {"ble', '{"test": {"bleu": 1.0}}', "[]"])
def test_a_torn_file_beside_the_checkpoint_is_no_hindrance(run_of, tmp_path, content):
    run = shutil.copytree(run_of("pre_untied"), tmp_path / "run")
    (run / "results.json").write_text(content)
    (run / "samples.txt").write_bytes(b"source      \xff\xfe\n")
    card = model_card(minitf.load(run, device="cpu"), "safetensors", "my-model", run)
    assert "results.json is torn" in card


def test_the_example_names_an_attention_of_the_users_own(load_with):
    translator = load_with("pre_untied")
    config = dataclasses.replace(translator.config, attention={"_target_": "mine.Window"})
    card = model_card(dataclasses.replace(translator, config=config), "safetensors", "x")
    assert 'minitf.load("x", attention="mine.Window")' in card


def test_what_was_trained_with_another_attention_is_told_as_it_was(run_of, tmp_path):
    run = shutil.copytree(run_of("post_two_way"), tmp_path / "run")
    (run / "results.json").write_text(json.dumps(RESULTS))
    swapped = minitf.load(run, device="cpu", attention="torch")
    card = model_card(swapped, "safetensors", "x", run)
    assert "41.02" in card  # torch's attention computes the same
    assert "attention=torch" not in card
    content = (run / "config.yaml").read_text()
    own = content.replace("minitf.attention.MultiHeadAttention", "mine.Window")
    (run / "config.yaml").write_text(own)
    card = model_card(minitf.load(run, device="cpu", attention="custom"), "safetensors", "x", run)
    assert "attention._target_=" in card
    assert card.count("mine.Window") == 3  # recipe, command, and why there are no scores
    assert "41.02" not in card


def test_a_package_that_is_not_installed_is_named(load_with, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ctranslate2", None)
    with pytest.raises(UserError, match=r"pip install 'minitf\[export\]'"):
        export(load_with("pre_untied"), "ctranslate2", tmp_path / "out")


def test_an_unknown_format_is_answered(load_with, tmp_path):
    with pytest.raises(UserError, match="--to takes safetensors, transformers, ctranslate2, onnx"):
        export(load_with("pre_untied"), "gguf", tmp_path / "out")


def test_the_weights_file_is_named(run_of, tmp_path):
    translator = minitf.load(run_of("pre_untied"), device="cpu", checkpoint="average:last:2")
    card = model_card(translator, "safetensors", "x", tmp_path)
    assert "average:last:2 (epoch-0000.ckpt, epoch-0001.ckpt)" in card
