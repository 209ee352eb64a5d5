"""Parallel files: faults are named with file and line, pairs come through unchanged."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from minitf.config.errors import UserError
from minitf.config.schema import EmptyLines, TextFilesConfig
from minitf.data import load_data

FILES = {
    "train.en": "A dog.\nTwo cats.\n",
    "train.de": "Ein Hund.\nZwei Katzen.\n",
    "val.en": "A cat.\n",
    "val.de": "Eine Katze.\n",
    "test.en": "A bird.\n",
    "test.de": "Ein Vogel.\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def config(folder: Path, **options: Any) -> TextFilesConfig:
    return TextFilesConfig(root=str(folder), **options)


def pairs(split: Any) -> list[tuple[str, str]]:
    return list(zip(split["src"], split["tgt"], strict=True))


def test_splits_come_in_order_with_their_pairs(folder: Path) -> None:
    data = load_data(config(folder))
    assert list(data) == ["train", "val", "test"]
    assert pairs(data["train"]) == [("A dog.", "Ein Hund."), ("Two cats.", "Zwei Katzen.")]
    assert pairs(data["test"]) == [("A bird.", "Ein Vogel.")]


def test_packed_files_serve_as_plain_ones(folder: Path) -> None:
    plain = load_data(config(folder))
    for name in FILES:
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    packed = load_data(config(folder))
    assert {k: pairs(v) for k, v in packed.items()} == {k: pairs(v) for k, v in plain.items()}


def test_a_place_holder_stands_for_the_language(folder: Path) -> None:
    (folder / "x").mkdir()
    for lang in ("en", "de"):
        (folder / f"test.{lang}").rename(folder / "x" / f"news.{lang}.txt")
    data = load_data(config(folder, tests=["x/news.{lang}.txt"]))
    assert list(data) == ["train", "val", "news.txt"]
    assert pairs(data["news.txt"]) == [("A bird.", "Ein Vogel.")]


def test_sides_can_change_places(folder: Path) -> None:
    data = load_data(config(folder, src="de", tgt="en"))
    assert pairs(data["val"]) == [("Eine Katze.", "A cat.")]


def test_lowercase_covers_both_sides(folder: Path) -> None:
    data = load_data(config(folder, lowercase=True))
    assert pairs(data["train"])[0] == ("a dog.", "ein hund.")


def test_empty_lines_are_skipped_as_pairs(folder: Path) -> None:
    (folder / "train.en").write_text("A dog.\n \nTwo cats.\nx\n", encoding="utf-8")
    (folder / "train.de").write_text("Ein Hund.\nleer\nZwei Katzen.\n\n", encoding="utf-8")
    data = load_data(config(folder, empty_lines=EmptyLines.skip))
    assert pairs(data["train"]) == [("A dog.", "Ein Hund."), ("Two cats.", "Zwei Katzen.")]


def test_the_fingerprint_is_that_of_the_text(folder: Path) -> None:
    first = load_data(config(folder))["train"]._fingerprint
    assert load_data(config(folder))["train"]._fingerprint == first
    (folder / "train.de").write_text("Ein Hund.\nZwei Kater.\n", encoding="utf-8")
    assert load_data(config(folder))["train"]._fingerprint != first


BROKEN: dict[str, tuple[dict[str, bytes | None], dict[str, Any], str]] = {
    "a line too few": (
        {"train.de": b"Ein Hund.\n"},
        {},
        "{root}/train.en has 2 lines and {root}/train.de has 1; parallel files must have the same "
        "number",
    ),
    "an empty line in the source": (
        {"train.en": b"A dog.\n\n"},
        {},
        "{root}/train.en:2 is empty; put text there, remove the pair, or leave such pairs out "
        "with data.empty_lines=skip",
    ),
    "a blank line in the target": (
        {"val.de": b" \t \n"},
        {},
        "{root}/val.de:1 is empty; put text there, remove the pair, or leave such pairs out "
        "with data.empty_lines=skip",
    ),
    "an empty file": (
        {"val.de": b""},
        {},
        "{root}/val.de is empty; it must hold a sentence a line",
    ),
    "nothing but empty lines": (
        {"val.en": b"\n", "val.de": b"\n"},
        {"empty_lines": EmptyLines.skip},
        "{root}/val.en with {root}/val.de has no pairs, all are empty",
    ),
    "a missing file": (
        {"test.de": None},
        {},
        "no file {root}/test.de or test.de.gz; {root} holds test.en, train.de, train.en, val.de, "
        "val.en; set data.root, data.train, data.val, data.tests, data.src and data.tgt to what "
        "is there; data.val=null holds out pairs of train, data.tests=[] tests on val",
    ),
    "a missing folder": (
        {},
        {"root": "/nowhere"},
        "no file /nowhere/train.en or train.en.gz; there is no folder /nowhere; set data.root, "
        "data.train, data.val, data.tests, data.src and data.tgt to what is there; "
        "data.val=null holds out pairs of train, data.tests=[] tests on val",
    ),
    "old Mac line ends": (
        {"train.en": b"A dog.\rTwo cats.\r"},
        {},
        "{root}/train.en has one line, with carriage returns in it; end lines with \\n, for "
        "example with tr '\\r' '\\n'",
    ),
    "one language twice": (
        {},
        {"tgt": "en"},
        "data.src and data.tgt must differ, both are 'en'",
    ),
    "a list in the list of test splits": (
        {},
        {"tests": [["test"]]},
        "data.tests is a list of names, as in [A,B]; got [['test']]",
    ),
    "a test split called train": (
        {},
        {"tests": ["train"]},
        "data.tests names 'train', which is taken; names must be different",
    ),
}


@pytest.mark.parametrize(("changes", "options", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_input_is_refused_in_one_line(
    folder: Path, changes: dict[str, bytes | None], options: dict[str, Any], message: str
) -> None:
    for name, content in changes.items():
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_data(TextFilesConfig(**{"root": str(folder), **options}))
    assert str(caught.value) == message.format(root=folder)
