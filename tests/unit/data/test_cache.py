"""What is kept is what was made, and nothing that can happen to a cache does harm."""

import dataclasses
import multiprocessing
import os
from pathlib import Path

import pytest

from minitf.config.schema import ScenesConfig
from minitf.data import load_data
from minitf.data.cache import kept, user_cache_dir
from minitf.data.scenes import corpus, scenes_digest

SMALL = ScenesConfig(train_size=53, val_size=11, test_size=13, compositional_size=7, seed=3)


def _asked(path: Path, makes: list[int]) -> str:
    return kept(
        path,
        lambda: makes.append(1) or "made",
        lambda place: place.read_text(encoding="ascii"),
        lambda text, place: place.write_text(text) and None,
    )


def test_made_once(tmp_path):
    makes: list[int] = []
    assert [_asked(tmp_path / "a" / "x", makes) for _ in range(3)] == ["made"] * 3
    assert makes == [1]
    assert os.listdir(tmp_path / "a") == ["x"]


def test_what_cannot_be_read_is_made_again(tmp_path):
    makes: list[int] = []
    (tmp_path / "x").write_bytes(b"\xff\xfe")
    assert _asked(tmp_path / "x", makes) == "made"
    assert (tmp_path / "x").read_text() == "made"


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").touch()
    makes: list[int] = []
    assert _asked(tmp_path / "file" / "x", makes) == "made"


def test_an_error_while_making_leaves_nothing(tmp_path):
    def fail() -> str:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept(tmp_path / "x", fail, Path.read_text, lambda text, place: None)
    assert os.listdir(tmp_path) == []


def _load(folder: str) -> list[str]:
    splits = load_data(SMALL, Path(folder))
    return [rows._fingerprint for rows in splits.values()]


def test_a_kept_corpus_is_the_generated_one(tmp_path, monkeypatch):
    made = load_data(SMALL)
    assert _load(str(tmp_path)) == [rows._fingerprint for rows in made.values()]
    monkeypatch.setattr("minitf.data.scenes.load_scenes", None)  # may not be called any more
    again = load_data(SMALL, tmp_path)
    assert list(again) == list(made)
    for split, rows in made.items():
        assert again[split][:] == rows[:]
        assert again[split].features == rows.features


def test_processes_that_ask_at_once_all_get_it(tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        first, *others = pool.map(_load, [str(tmp_path)] * 3)
    assert others == [first, first]


def test_the_digest_follows_options_and_grammar(tmp_path, monkeypatch):
    before = scenes_digest(SMALL)
    assert before == scenes_digest(dataclasses.replace(SMALL))
    for change in ({"seed": 4}, {"train_size": 54}, {"compositional_size": 8}):
        assert scenes_digest(dataclasses.replace(SMALL, **change)) != before
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "nouns.txt").write_text("house")
    monkeypatch.setattr(corpus, "__file__", str(tmp_path / "corpus.py"))
    one = scenes_digest(SMALL)
    (tmp_path / "tables" / "nouns.txt").write_text("horse")
    assert len({before, one, scenes_digest(SMALL)}) == 3


def test_where_it_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache_dir() == tmp_path / "minitf"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert user_cache_dir() == Path.home() / ".cache" / "minitf"
