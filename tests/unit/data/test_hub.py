"""Hub data sets without the hub: from a folder, from the cache, and the message without either."""

import json
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import huggingface_hub.constants
import pytest
from datasets import Dataset, DatasetDict

from minitf.config.errors import UserError
from minitf.config.schema import EmptyLines, HubConfig
from minitf.data import hub, load_data

SPLITS = {
    "train": [("A dog.", "Ein Hund."), ("NA", "null")],
    "validation": [("A cat.", "Eine Katze.")],
    "test": [("A bird.", "Ein Vogel.")],
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty cache, and a network where every connection fails."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    datasets.disable_progress_bars()


def columns(rows: list[tuple[str, str]], translation: bool) -> dict[str, list[Any]]:
    if translation:
        return {"translation": [{"en": s, "de": t} for s, t in rows]}
    return {"en": [s for s, _ in rows], "de": [t for _, t in rows]}


def folder(path: Path, translation: bool, **changes: Any) -> Path:
    """A data set as a folder of parquet files, as the hub keeps them."""
    for split, rows in (SPLITS | changes).items():
        made = rows if isinstance(rows, dict) else columns(rows, translation)
        (path / "data").mkdir(parents=True, exist_ok=True)
        Dataset.from_dict(made).to_parquet(path / "data" / f"{split}-00000-of-00001.parquet")
    return path


def cached(cache: Path, name: str) -> None:
    """The data set as `datasets` leaves it in its cache after loading it from the hub."""
    place = cache / name.replace("/", "___") / "default" / "0.0.0" / "0123456789abcdef"
    place.mkdir(parents=True)
    short = name.split("/")[-1]
    data = DatasetDict({k: Dataset.from_dict(columns(v, True)) for k, v in SPLITS.items()})
    info: dict[str, Any] = {"dataset_name": short, "config_name": "default", "splits": {}}
    info |= {"builder_name": "parquet", "version": {"version_str": "0.0.0"}}
    info["features"] = data["train"].features.to_dict()
    for split, part in data.items():
        with datasets.arrow_writer.ArrowWriter(
            path=str(place / f"{short}-{split}.arrow")
        ) as writer:
            writer.write_table(part.data.table)
        info["splits"][split] = {"name": split, "num_examples": len(part), "dataset_name": short}
    (place / "dataset_info.json").write_text(json.dumps(info))


def pairs(data: DatasetDict) -> dict[str, list[tuple[str, str]]]:
    return {k: list(zip(v["src"], v["tgt"], strict=True)) for k, v in data.items()}


@pytest.mark.parametrize("translation", [True, False])
def test_translation_entries_and_columns_give_the_same(tmp_path: Path, translation: bool) -> None:
    path = folder(tmp_path / "set", translation)
    assert pairs(load_data(HubConfig(path=str(path)))) == {
        "train": SPLITS["train"],
        "val": SPLITS["validation"],
        "test": SPLITS["test"],
    }


def test_what_is_in_the_cache_needs_no_network(tmp_path: Path) -> None:
    cached(tmp_path / "cache", "someone/pairs")
    assert pairs(load_data(HubConfig(path="someone/pairs")))["train"] == SPLITS["train"]


def test_without_network_and_cache_one_line_says_so() -> None:
    with pytest.raises(UserError) as caught:
        load_data(HubConfig(path="someone/pairs"))
    assert str(caught.value) == (
        "someone/pairs is not in the cache and the Hugging Face hub cannot be reached; connect, "
        "or use local files with data=text_files or data=table"
    )


def test_without_network_datasets_is_told_not_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    modes = []

    def load(*_: Any, **__: Any) -> None:
        modes.append((datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE))
        raise ConnectionError

    monkeypatch.setattr(datasets, "load_dataset_builder", load)
    with pytest.raises(UserError, match="cannot be reached"):
        load_data(HubConfig(path="someone/pairs"))
    assert modes == [(True, True)]


def test_offline_mode_asks_nobody_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.get_session", lambda: pytest.fail("asked the hub"))
    with pytest.raises(UserError, match=r"cannot be reached \(HF_HUB_OFFLINE=1\); connect"):
        load_data(HubConfig(path="someone/pairs"))


def test_offline_mode_ends_with_the_call() -> None:
    before = datasets.config.HF_HUB_OFFLINE
    with hub._offline(True):
        assert datasets.config.HF_HUB_OFFLINE is True
    assert datasets.config.HF_HUB_OFFLINE is before


@pytest.mark.parametrize(("status", "reachable"), [(200, True), (307, True), (502, False)])
def test_a_proxy_that_only_reports_failure_is_no_network(
    monkeypatch: pytest.MonkeyPatch, status: int, reachable: bool
) -> None:
    session = SimpleNamespace(head=lambda url, timeout: SimpleNamespace(status_code=status))
    monkeypatch.setattr("huggingface_hub.get_session", lambda: session)
    assert hub._reachable() is reachable


BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a split that is not there": (
        {},
        {"val": "dev"},
        "{path} has no split 'dev'; it has train, validation, test; set data.train, data.val and "
        "data.tests; data.val=null holds out pairs of train, data.tests=[] tests on val",
    ),
    "a column that is not there": (
        {},
        {"tgt": "fr"},
        "{path}, split train has no 'translation' entry 'fr'; it has en, de; set data.src and "
        "data.tgt to two of them",
    ),
    "one column twice": (
        {},
        {"tgt": "en"},
        "data.src and data.tgt must differ, both are 'en'",
    ),
    "an empty text": (
        {"test": [("A bird.", "")]},
        {},
        "{path}, split test, row 1: 'de' is empty; put text there, remove the pair, or leave such "
        "pairs out with data.empty_lines=skip",
    ),
    "numbers": (
        {split: {"en": ["a"], "de": [7]} for split in SPLITS},
        {},
        "{path}, split train: column 'de' must hold text, row 1 on it is int64",
    ),
}


@pytest.mark.parametrize(("changes", "options", "message"), BROKEN.values(), ids=BROKEN)
def test_a_data_set_that_does_not_fit_is_refused_in_one_line(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    path = folder(tmp_path / "set", translation=True, **changes)
    with pytest.raises(UserError) as caught:
        load_data(HubConfig(path=str(path), **options))
    assert str(caught.value) == message.format(path=path)


def test_nulls_can_be_skipped(tmp_path: Path) -> None:
    path = folder(tmp_path / "set", False, train=[("A dog.", "Ein Hund."), ("No.", None)])
    data = load_data(HubConfig(path=str(path), empty_lines=EmptyLines.skip))
    assert pairs(data)["train"] == [("A dog.", "Ein Hund.")]


def saved(path: Path) -> Path:
    """The data set as `save_to_disk` writes it."""
    DatasetDict({k: Dataset.from_dict(columns(v, True)) for k, v in SPLITS.items()}).save_to_disk(
        path
    )
    return path


def test_a_saved_data_set_is_read(tmp_path: Path) -> None:
    data = load_data(HubConfig(path=str(saved(tmp_path / "set"))))
    assert pairs(data)["val"] == SPLITS["validation"]


def test_one_saved_split_is_the_training_split(tmp_path: Path) -> None:
    Dataset.from_dict(columns(SPLITS["train"], True)).save_to_disk(tmp_path / "set")
    data = load_data(HubConfig(path=str(tmp_path / "set"), val="train", tests=[]))
    assert pairs(data)["train"] == SPLITS["train"]
    with pytest.raises(UserError, match=r"has no split .*; it has train; set data"):
        load_data(HubConfig(path=str(tmp_path / "set")))


def test_a_file_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("en,de\n")
    with pytest.raises(UserError, match=r"\.csv is a file, .* with data=table data\.train="):
        load_data(HubConfig(path=str(tmp_path / "train.csv")))


@pytest.mark.parametrize("path", ["./nowhere", "~/nowhere", "../here/nowhere"])
def test_a_folder_that_is_not_there_is_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "here"))
    with pytest.raises(UserError, match=rf"^there is no folder {tmp_path}/here/nowhere; "):
        load_data(HubConfig(path=path))


def test_a_folder_is_good_in_any_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set").mkdir()
    monkeypatch.chdir(tmp_path)
    assert hub.local_path("set") == hub.local_path("./set") == str(tmp_path / "set")
    assert hub.local_path("someone/pairs") == "someone/pairs"


def test_a_folder_that_cannot_be_read_is_no_name_either(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(UserError, match=rf"^cannot load the folder {tmp_path}/set: "):
        load_data(HubConfig(path=str(tmp_path / "set")))


def test_words_that_pandas_takes_for_nothing_are_text_in_csv_files(tmp_path: Path) -> None:
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.csv").write_text("en,de\nNA,nan\nnull,3 NaN\n")
    found = pairs(load_data(HubConfig(path=str(tmp_path))))
    assert found["val"] == [("NA", "nan"), ("null", "3 NaN")]
