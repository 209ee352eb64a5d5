"""The corpus: splits, determinism, the combinations held out, and what it says."""

from __future__ import annotations

import dataclasses
import os
import random
import re
import subprocess
import sys
from collections import Counter

import pytest
from datasets import DatasetDict

from minitf.config.errors import UserError
from minitf.config.schema import ScenesConfig
from minitf.data.scenes import load_scenes
from minitf.data.scenes.corpus import is_reserved, split_of
from minitf.data.scenes.lexicon import ADJECTIVES, NOUNS, VERBS
from minitf.data.scenes.sentences import Sentence, sentence

SMALL = ScenesConfig(train_size=401, val_size=31, test_size=37, compositional_size=41, seed=5)


@pytest.fixture(scope="module")
def data() -> DatasetDict:
    """The corpus at the default settings."""
    return load_scenes(ScenesConfig())


@pytest.fixture(scope="module")
def sentences() -> list[Sentence]:
    rng = random.Random(20)
    return [sentence(rng) for _ in range(60_000)]


def test_splits_have_their_sizes_and_columns(data: DatasetDict) -> None:
    assert {split: len(rows) for split, rows in data.items()} == {
        "train": 80_000,
        "val": 500,
        "test": 1_000,
        "compositional": 1_000,
    }
    assert all(rows.column_names == ["src", "tgt"] for rows in data.values())


def test_no_sentence_occurs_twice_in_or_across_splits(data: DatasetDict) -> None:
    sources = [source for rows in data.values() for source in rows["src"]]
    assert len(set(sources)) == len(sources)


def test_splits_of_other_seeds_do_not_overlap(data: DatasetDict) -> None:
    other = load_scenes(dataclasses.replace(SMALL, train_size=3_001, val_size=307, test_size=311))
    seen = set(data["train"]["src"])
    assert seen & set(other["train"]["src"])  # short sentences come up again ...
    for split in ("val", "test", "compositional"):
        assert not seen & set(other[split]["src"])  # ... but in the split that is theirs


def test_sizes_do_not_change_what_comes_first() -> None:
    small = load_scenes(SMALL)
    larger = load_scenes(dataclasses.replace(SMALL, train_size=503, val_size=97))
    assert larger["train"]["src"][:401] == small["train"]["src"][:]
    assert larger["val"]["src"][:31] == small["val"]["src"][:]
    assert larger["test"]["src"][:] == small["test"]["src"][:]


def test_the_seed_decides() -> None:
    first, again = load_scenes(SMALL), load_scenes(SMALL)
    other = load_scenes(dataclasses.replace(SMALL, seed=6))
    for split, rows in first.items():
        assert rows._fingerprint == again[split]._fingerprint
        assert rows["tgt"][:] == again[split]["tgt"][:]
        assert rows._fingerprint != other[split]._fingerprint


@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_same_data_and_fingerprint_in_another_process(hash_seed: str) -> None:
    program = (
        "from minitf.config.schema import ScenesConfig\n"
        "from minitf.data.scenes import load_scenes\n"
        f"data = load_scenes({SMALL!r})\n"
        "print(*(rows._fingerprint for rows in data.values()))\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert output.split() == [rows._fingerprint for rows in load_scenes(SMALL).values()]


def test_each_english_sentence_has_one_translation(sentences: list[Sentence]) -> None:
    translations: dict[str, str] = {}
    for each in sentences:
        assert translations.setdefault(each.english, each.german) == each.german


def test_compositional_sentences_hold_a_reserved_combination(sentences: list[Sentence]) -> None:
    held_out = [each for each in sentences if split_of(each) == "compositional"]
    assert 0.02 < len(held_out) / len(sentences) < 0.10
    assert all(any(map(is_reserved, each.combinations)) for each in held_out)


def test_reserved_combinations_are_new_but_their_parts_are_not(sentences: list[Sentence]) -> None:
    """Each part of a reserved combination occurs in training, in other combinations."""
    seen: Counter[str] = Counter()
    reserved = set()
    for each in sentences:
        if split_of(each) == "train":
            assert not any(map(is_reserved, each.combinations))
            seen.update(word for pair in each.combinations for word in pair)
        reserved.update(filter(is_reserved, each.combinations))
    assert len(reserved) > 100
    rare = {word for pair in reserved for word in pair if seen[word] < 5}
    assert not rare


def test_reserved_adjectives_and_nouns_never_meet_in_training(data: DatasetDict) -> None:
    """Looks at the text alone: `old house` is nowhere in train, val and test, if it is reserved."""
    text = " ".join(" ".join(data[split]["src"]) for split in ("train", "val", "test"))
    pairs = [
        f" {adjective.english} {form} "
        for adjective in ADJECTIVES
        for noun in NOUNS
        for form in filter(None, (noun.english, noun.english_plural))
        if is_reserved((adjective.english, noun.english))
    ]
    assert len(pairs) > 30
    held_out = " ".join(data["compositional"]["src"])
    assert sum(pair in held_out for pair in pairs) > 15
    assert not [pair for pair in pairs if pair in text]


def test_every_word_occurs_in_training(data: DatasetDict) -> None:
    text = " ".join(data["train"]["tgt"])
    missing = [noun.german for noun in NOUNS if noun.german not in text]
    missing += [
        verb.infinitive
        for verb in VERBS
        if not any(form and form in text for form in (verb.present, verb.participle, verb.past))
    ]
    missing += [adjective.stem for adjective in ADJECTIVES if adjective.stem not in text]
    assert not missing


def test_sentences_are_short_and_well_formed(sentences: list[Sentence]) -> None:
    lengths = sorted(len(each.german.split()) for each in sentences)
    assert 7 <= lengths[len(lengths) // 2] <= 10
    for text in (text for each in sentences for text in (each.english, each.german)):
        assert text[0].isupper()
        assert text[-1] in ".?"
        assert "  " not in text
        assert not any(pair in text for pair in (" ,", ",,", ",.", "..", " .", "_", "|", " 0 "))


def test_prepositions_are_contracted_with_the_article(sentences: list[Sentence]) -> None:
    articles = r"\b([Ii]n|[Aa]n|[Vv]on|[Zz]u) dem\b|\b([Ii]n|[Aa]n) das\b|\b[Zz]u der\b"
    uncontracted = re.compile(articles)
    assert not [each.german for each in sentences if uncontracted.search(each.german)]


def test_the_lexicon_has_several_hundred_entries() -> None:
    assert len(NOUNS) + len(ADJECTIVES) + len(VERBS) > 500


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_size": 0}, "data.train_size must be at least 1, got 0"),
        ({"val_size": -1}, "data.val_size must be at least 1, got -1"),
        ({"test_size": 0}, "data.test_size must be at least 1, got 0"),
        ({"compositional_size": 0}, "data.compositional_size must be at least 1, got 0"),
        ({"train_size": 10**8}, "data.train_size must be at most 10000000, got 100000000"),
    ],
)
def test_bad_sizes_are_refused_in_one_line(change: dict[str, int], message: str) -> None:
    with pytest.raises(UserError) as error:
        load_scenes(dataclasses.replace(SMALL, **change))
    assert str(error.value) == message
