"""Training: sizes, cache, refusals."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minitf.config.errors import UserError
from minitf.config.schema import TokenizerConfig, TokenizerKind
from minitf.tokenizer import TextTokenizer, train_tokenizer

TEXTS = ["der kleine Hund", "der große Hund", "die kleine Katze"]


def config(**options: Any) -> TokenizerConfig:
    return TokenizerConfig(**{"vocab_size": 290, "min_frequency": 1, **options})


def test_the_vocabulary_has_the_size_asked_for() -> None:
    assert train_tokenizer(TEXTS, config(vocab_size=277)).vocab_size == 277


def test_text_with_fewer_merges_gives_a_smaller_vocabulary() -> None:
    tokenizer = train_tokenizer(["ab ab"], config(vocab_size=9_999))
    assert tokenizer.vocab_size == 4 + 256 + len(["ab", " ab"])
    assert tokenizer.decode(tokenizer.encode("abc ab")) == "abc ab"


def test_the_least_vocabulary_is_the_bytes() -> None:
    tokenizer = train_tokenizer(TEXTS, config(vocab_size=260))
    assert tokenizer.vocab_size == 260
    assert len(tokenizer.encode("Käse")) == len(" Käse".encode())


@pytest.mark.parametrize(("kind", "entries"), [("word", 6), ("char", 17)])
def test_words_and_characters_are_those_of_the_text(kind: str, entries: int) -> None:
    tokenizer = train_tokenizer(TEXTS, config(name=TokenizerKind(kind)))
    seen = set("".join(TEXTS)) if kind == "char" else set(" ".join(TEXTS).split())
    assert tokenizer.vocab_size == 4 + len(seen) == 4 + entries


def test_rare_words_are_unknown() -> None:
    tokenizer = train_tokenizer(TEXTS, config(name=TokenizerKind.word, min_frequency=2))
    assert tokenizer.decode(tokenizer.encode("die kleine Katze")) == "<unk> kleine <unk>"


def test_the_most_frequent_words_fill_a_small_vocabulary() -> None:
    tokenizer = train_tokenizer(["b b b a a c"], config(name=TokenizerKind.word, vocab_size=6))
    assert tokenizer.decode(tokenizer.encode("a b c")) == "a b <unk>"


def test_any_iterable_of_text_will_do() -> None:
    once = train_tokenizer(iter(TEXTS), config())
    assert once.fingerprint == train_tokenizer(TEXTS, config()).fingerprint


def test_training_is_deterministic_to_the_bit() -> None:
    assert len({train_tokenizer(TEXTS, config()).fingerprint for _ in range(5)}) == 1


class TestCache:
    def test_the_second_request_is_answered_from_the_file(self, tmp_path: Path) -> None:
        first = train_tokenizer(TEXTS, config(), tmp_path)
        (file,) = tmp_path.iterdir()
        os.utime(file, (1_000_000_000, 1_000_000_000))
        # Another tokenizer in the file's place: only reading it can give this answer.
        other = train_tokenizer(["x y z"], config())
        other.save(file)
        again = train_tokenizer(TEXTS, config(), tmp_path)
        assert again.fingerprint == other.fingerprint != first.fingerprint

    def test_a_hit_leaves_the_file_alone(self, tmp_path: Path) -> None:
        train_tokenizer(TEXTS, config(), tmp_path)
        (file,) = tmp_path.iterdir()
        os.utime(file, (1_000_000_000, 1_000_000_000))
        train_tokenizer(TEXTS, config(), tmp_path)
        assert file.stat().st_mtime == 1_000_000_000

    @pytest.mark.parametrize(
        ("texts", "options"),
        [
            (["der kleine Hund", "der große Hund", "die kleine Katz", "e"], {}),
            (["der kleine Hundder große Hund", "die kleine Katze"], {}),
            (TEXTS[::-1], {}),
            (TEXTS, {"vocab_size": 280}),
            (TEXTS, {"min_frequency": 2}),
            (TEXTS, {"name": TokenizerKind.word}),
        ],
    )
    def test_other_text_or_options_are_another_entry(
        self, tmp_path: Path, texts: list[str], options: dict[str, Any]
    ) -> None:
        train_tokenizer(TEXTS, config(), tmp_path)
        train_tokenizer(texts, config(**options), tmp_path)
        assert len(list(tmp_path.iterdir())) == 2

    def test_dropout_is_no_part_of_the_tokenizer(self, tmp_path: Path) -> None:
        train_tokenizer(TEXTS, config(), tmp_path)
        train_tokenizer(TEXTS, config(dropout=0.1), tmp_path)
        assert len(list(tmp_path.iterdir())) == 1

    def test_with_a_digest_the_text_is_not_read_again(self, tmp_path: Path) -> None:
        def never() -> Iterator[str]:
            pytest.fail("the text was read")
            yield ""

        first = train_tokenizer(iter(TEXTS), config(), tmp_path, text_digest="a")
        again = train_tokenizer(never(), config(), tmp_path, text_digest="a")
        assert again.fingerprint == first.fingerprint
        other = train_tokenizer(TEXTS[:1], config(), tmp_path, text_digest="b")
        assert other.fingerprint != first.fingerprint

    def test_a_damaged_file_is_replaced(self, tmp_path: Path) -> None:
        first = train_tokenizer(TEXTS, config(), tmp_path)
        (file,) = tmp_path.iterdir()
        file.write_text("{")
        assert train_tokenizer(TEXTS, config(), tmp_path).fingerprint == first.fingerprint
        assert TextTokenizer.load(file).fingerprint == first.fingerprint


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a vocabulary smaller than the bytes": (
        {"vocab_size": 259},
        "tokenizer.vocab_size must be at least 260 for bpe (4 specials and 256 bytes counted), "
        "got 259",
    ),
    "a vocabulary of specials alone": (
        {"vocab_size": 4, "name": TokenizerKind.word},
        "tokenizer.vocab_size must be at least 5 for word (4 specials counted), got 4",
    ),
    "no frequency": (
        {"min_frequency": 0},
        "tokenizer.min_frequency must be from 1 to 1,000,000, got 0",
    ),
    "a vocabulary beyond reason": (
        {"vocab_size": 10**9},
        "tokenizer.vocab_size must be at most 1,000,000, got 1000000000",
    ),
    "words that are all rare": (
        {"min_frequency": 10**6, "name": TokenizerKind.word},
        "tokenizer=word knows nothing of the training text: no entry occurs "
        "tokenizer.min_frequency=1000000 times; lower it",
    ),
    "certain dropout": (
        {"dropout": 1.0},
        "tokenizer.dropout must be at least 0 and below 1, got 1.0",
    ),
    "dropout of words": (
        {"dropout": 0.1, "name": TokenizerKind.word},
        "tokenizer.dropout leaves out BPE merges; tokenizer=word has none: use 0",
    ),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_options_out_of_range_are_refused_in_one_line(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        train_tokenizer(TEXTS, config(**options))
    assert str(caught.value) == message


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_no_text_is_refused(texts: list[str]) -> None:
    with pytest.raises(UserError, match=r"^a tokenizer needs text to be trained on, got none$"):
        train_tokenizer(texts, config())


def test_a_tokenizer_of_ones_own_is_taken_as_it_is(tmp_path: Path) -> None:
    made = train_tokenizer(["a cat", "a dog"], TokenizerConfig(name=TokenizerKind.char))
    made.save(tmp_path / "tokenizer.json")
    config = TokenizerConfig(path=str(tmp_path / "tokenizer.json"))
    taken = train_tokenizer(["quite another text"], config, tmp_path / "cache")
    assert taken.fingerprint == made.fingerprint
    assert not (tmp_path / "cache").exists()


def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(UserError, match=r"a\.json is not a tokenizer file: "):
        train_tokenizer(["text"], TokenizerConfig(path=str(tmp_path / "a.json")))
    with pytest.raises(UserError, match=r"no tokenizer at .*/b\.json; a run directory holds one"):
        train_tokenizer(["text"], TokenizerConfig(path=str(tmp_path / "b.json")))
