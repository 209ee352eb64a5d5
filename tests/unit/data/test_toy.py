from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest

from minitf.config.errors import UserError
from minitf.config.schema import ToyConfig
from minitf.data.toy import load_toy

SMALL = ToyConfig(
    train_size=101, val_size=23, test_size=37, max_length=7, alphabet="abcde", seed=11
)


def test_target_is_the_source_reversed() -> None:
    for split in load_toy(SMALL).values():
        assert all(row["tgt"].split() == row["src"].split()[::-1] for row in split)


def test_target_is_the_source_copied() -> None:
    for split in load_toy(dataclasses.replace(SMALL, name="copy")).values():
        assert all(row["tgt"] == row["src"] for row in split)


def test_sizes_lengths_and_letters_are_as_configured() -> None:
    config = dataclasses.replace(SMALL, min_length=3)
    data = load_toy(config)
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 101,
        "val": 23,
        "test": 37,
    }
    sequences = [row["src"].split(" ") for rows in data.values() for row in rows]
    assert {len(sequence) for sequence in sequences} == {3, 4, 5, 6, 7}
    assert {letter for sequence in sequences for letter in sequence} == set("abcde")


def test_no_sequence_occurs_twice_in_or_across_splits() -> None:
    sources = [row["src"] for rows in load_toy(SMALL).values() for row in rows]
    assert len(set(sources)) == len(sources)


def test_all_possible_sequences_can_be_drawn() -> None:
    config = ToyConfig(train_size=10, val_size=2, test_size=2, max_length=3, alphabet="ab")
    sources = {row["src"] for rows in load_toy(config).values() for row in rows}
    assert len(sources) == 2 + 4 + 8


def test_lengths_are_drawn_evenly() -> None:
    config = ToyConfig(train_size=601, val_size=7, test_size=11, min_length=4, max_length=6)
    lengths = [len(row["src"].split()) for rows in load_toy(config).values() for row in rows]
    assert [lengths.count(n) for n in (4, 5, 6)] == [206, 206, 207]


def test_very_long_sequences_are_drawn_at_once() -> None:
    config = ToyConfig(train_size=5, val_size=1, test_size=1, min_length=300, max_length=300)
    assert all(len(row["src"].split()) == 300 for row in load_toy(config)["train"])


def test_the_seed_decides() -> None:
    first, again = load_toy(SMALL), load_toy(SMALL)
    other = load_toy(dataclasses.replace(SMALL, seed=12))
    assert first["train"]["src"][:] == again["train"]["src"][:]
    assert first["train"]._fingerprint == again["train"]._fingerprint
    assert first["train"]["src"][:] != other["train"]["src"][:]
    assert first["train"]._fingerprint != other["train"]._fingerprint


def test_same_data_and_fingerprint_in_another_process() -> None:
    program = (
        "from minitf.config.schema import ToyConfig\n"
        "from minitf.data.toy import load_toy\n"
        "data = load_toy(ToyConfig(train_size=101, val_size=23, test_size=37, max_length=7,"
        " alphabet='abcde', seed=11))\n"
        "print(*(rows._fingerprint for rows in data.values()))\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert output.split() == [rows._fingerprint for rows in load_toy(SMALL).values()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "sort"}, "data.name must be one of copy, reverse, got 'sort'"),
        ({"train_size": 0}, "data.train_size must be at least 1, got 0"),
        ({"val_size": -3}, "data.val_size must be at least 1, got -3"),
        ({"test_size": 0}, "data.test_size must be at least 1, got 0"),
        ({"min_length": 0}, "data.min_length must be at least 1, got 0"),
        (
            {"min_length": 8},
            "data.max_length must be at least data.min_length (8), got 7",
        ),
        ({"alphabet": ""}, "data.alphabet must be letters without spaces, got ''"),
        ({"alphabet": "a c"}, "data.alphabet must be letters without spaces, got 'a c'"),
        (
            {"alphabet": "abcab"},
            "data.alphabet must hold each letter once, got 'abcab' with a, b repeated",
        ),
        (
            {"alphabet": "ab", "max_length": 3},
            "161 distinct sequences were asked for, but 2 letters in lengths 1 to 3 make 14: "
            "lower the sizes, or raise data.max_length",
        ),
    ],
)
def test_bad_options_are_refused_in_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as error:
        load_toy(dataclasses.replace(SMALL, **change))
    assert str(error.value) == message
