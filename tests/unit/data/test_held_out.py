"""Validation pairs that are held out of the training split."""

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from minitf.config.compose import compose_config
from minitf.config.errors import UserError
from minitf.config.schema import DataConfig, HubConfig, TableConfig, TextFilesConfig
from minitf.data import load_data
from minitf.data.load import data_files


def corpus(folder: Path, kind: str, number: int, **options: Any) -> DataConfig:
    """`number` pairs for training and one for testing."""
    pairs = {"train": [(f"en {n}", f"de {n}") for n in range(number)], "test": [("x", "y")]}
    rows = {name: [{"en": s, "de": t} for s, t in split] for name, split in pairs.items()}
    if kind == "hub":
        DatasetDict({k: Dataset.from_list(v) for k, v in rows.items()}).save_to_disk(folder / "set")
        return HubConfig(path=str(folder / "set"), val=None, **options)
    for name, split in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in split))
        for side in ("en", "de"):
            (folder / f"{name}.{side}").write_text("".join(row[side] + "\n" for row in split))
    if kind == "text_files":
        return TextFilesConfig(root=str(folder), val=None, **options)
    return TableConfig(
        root=str(folder), train="train.jsonl", val=None, tests={"test": "test.jsonl"},
        src="en", tgt="de", **options,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["text_files", "table", "hub"])
def test_each_pair_is_trained_on_or_held_out(tmp_path: Path, kind: str) -> None:
    config = corpus(tmp_path, kind, 101)
    splits = load_data(config)
    assert list(splits) == ["train", "val", "test"]
    train, val = (list(splits[name]["src"]) for name in ("train", "val"))
    assert val == ["en 0", "en 20", "en 40", "en 60", "en 80"]
    assert train == [f"en {n}" for n in range(101) if f"en {n}" not in val]
    again = load_data(config)
    assert all(again[name]._fingerprint == splits[name]._fingerprint for name in splits)
    assert all(file.is_file() for file in data_files(config))


@pytest.mark.parametrize(
    ("pairs", "asked", "held_out"),
    [(2, None, 1), (30, None, 1), (400, None, 20), (20_000, None, 500), (30, 7, 7), (30, 29, 29)],
)
def test_as_many_are_held_out(tmp_path: Path, pairs: int, asked: int | None, held_out: int) -> None:
    splits = load_data(corpus(tmp_path, "text_files", pairs, val_held_out=asked))
    assert (len(splits["train"]), len(splits["val"])) == (pairs - held_out, held_out)


@pytest.mark.parametrize(("pairs", "asked"), [(30, 0), (30, -1), (30, 30), (1, None)])
def test_what_cannot_be_held_out_is_refused(tmp_path: Path, pairs: int, asked: int | None) -> None:
    with pytest.raises(UserError, match=r"^data\.val_held_out must be at least 1 and leave pairs"):
        load_data(corpus(tmp_path, "text_files", pairs, val_held_out=asked))


def test_a_number_beside_a_validation_split_is_refused(tmp_path: Path) -> None:
    config = corpus(tmp_path, "text_files", 30, val_held_out=3)
    assert isinstance(config, TextFilesConfig)
    config.val = "test"
    with pytest.raises(UserError, match=r"^data\.val_held_out=3 goes with data\.val=null, got"):
        load_data(config)


@pytest.mark.parametrize("kind", ["text_files", "table", "hub"])
def test_null_is_taken_from_the_command_line(kind: str) -> None:
    config = compose_config([f"data={kind}", "data.val=null", "data.val_held_out=3"])
    assert config.data.val is None
