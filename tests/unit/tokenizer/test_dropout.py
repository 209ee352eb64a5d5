"""BPE dropout: the paper's distribution, the same text, a pure function of seed and epoch."""

import json
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitf.config.errors import UserError
from minitf.config.schema import TokenizerConfig, TokenizerKind
from minitf.tokenizer import TextTokenizer, train_tokenizer
from minitf.tokenizer.dropout import FlatIds, MergeDropout, Merges

TEXTS = ["low lower lowest newer newest wide widest", "slow slower", "der Käse , die Käserei"] * 5
BPE = train_tokenizer(TEXTS, TokenizerConfig(vocab_size=300))


def rows(flat: FlatIds) -> list[list[int]]:
    return [part.tolist() for part in np.split(flat.tokens, np.cumsum(flat.lengths)[:-1])]


def cut(tokenizer: TextTokenizer, word: str, probability: float, number: int = 1) -> FlatIds:
    merges = Merges(tokenizer)
    return merges.cut(
        FlatIds.of([merges.bytes_of(word)]),
        np.zeros(number, np.int64),
        np.full(number, probability),
        np.random.default_rng(0),
    )


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1))
def test_without_dropout_it_is_the_package_s_encoding(texts: list[str]) -> None:
    encoded = MergeDropout(BPE, texts, 0.0).encode(0)
    assert rows(encoded) == BPE.encode_batch(texts)


def exact(
    tokens: tuple[str, ...], ranks: dict[tuple[str, str], int], dropout: float
) -> dict[tuple[str, ...], float]:
    """Algorithm 1 of Provilkov et al. by enumerating which merges are left out."""
    places = [n for n in range(len(tokens) - 1) if tokens[n : n + 2] in ranks]
    result: Counter[tuple[str, ...]] = Counter()
    for kept in product([False, True], repeat=len(places)):
        chance = float(np.prod([1 - dropout if keep else dropout for keep in kept]))
        left = [place for place, keep in zip(places, kept, strict=True) if keep]
        if not left:
            result[tokens] += chance
            continue
        place = min(left, key=lambda n: ranks[tokens[n], tokens[n + 1]])
        merged = (*tokens[:place], tokens[place] + tokens[place + 1], *tokens[place + 2 :])
        for end, share in exact(merged, ranks, dropout).items():
            result[end] += chance * share
    return result


@pytest.mark.parametrize("dropout", [0.1, 0.4])
def test_segmentations_have_the_papers_probabilities(dropout: float) -> None:
    merges = [tuple(merge) for merge in _merges_of(BPE)]
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    expected = exact(tuple("Ġlower"), ranks, dropout)
    number = 40_000
    pieces = [tuple(_names(BPE, ids)) for ids in rows(cut(BPE, "Ġlower", dropout, number))]
    assert set(pieces) <= set(expected)
    assert len(set(pieces)) > 5
    for piece, chance in expected.items():
        deviation = (chance * (1 - chance) / number) ** 0.5
        assert abs(pieces.count(piece) / number - chance) < 5 * deviation + 1e-9


def _merges_of(tokenizer: TextTokenizer) -> list[list[str]]:
    merges: list[list[str]] = json.loads(tokenizer.backend.to_str())["model"]["merges"]
    return merges


def _names(tokenizer: TextTokenizer, ids: list[int]) -> list[str]:
    return [str(tokenizer.backend.id_to_token(number)) for number in ids]


def test_the_text_is_the_same_in_every_epoch() -> None:
    dropout = MergeDropout(BPE, TEXTS, 0.3, before=[1], after=[2])
    for epoch in range(5):
        ids = rows(dropout.encode(epoch))
        assert BPE.decode_batch(ids) == TEXTS
        assert all(one[0] == 1 and one[-1] == 2 for one in ids)


def test_epochs_and_occurrences_differ() -> None:
    dropout = MergeDropout(BPE, TEXTS, 0.3)
    first, second = rows(dropout.encode(0)), rows(dropout.encode(1))
    assert first != second
    assert len({tuple(first[n]) for n in range(0, 15, 3)}) > 1


@pytest.mark.parametrize("seed", [0, 7])
def test_it_is_a_pure_function_of_seed_and_epoch(seed: int) -> None:
    one, other = (MergeDropout(BPE, TEXTS, 0.3, seed=seed) for _ in range(2))
    other.encode(3)
    assert rows(one.encode(5)) == rows(other.encode(5))


def test_seeds_differ() -> None:
    one, other = (MergeDropout(BPE, TEXTS, 0.3, seed=seed) for seed in (0, 1))
    assert rows(one.encode(0)) != rows(other.encode(0))


def test_texts_that_come_out_too_long_are_read_without_dropout() -> None:
    whole = BPE.encode_batch(TEXTS)
    limit = max(map(len, whole))
    texts = rows(MergeDropout(BPE, TEXTS, 0.3, max_length=limit).encode(0))
    assert max(map(len, texts)) <= limit
    longest = whole.index(max(whole, key=len))
    assert texts[longest] == whole[longest]
    assert texts != whole


def test_empty_texts_stay_empty() -> None:
    encoded = MergeDropout(BPE, ["", "low", ""], 0.3, after=[2]).encode(0)
    assert rows(encoded)[0] == rows(encoded)[2] == [2]


def test_a_vocabulary_without_merges_has_nothing_to_leave_out() -> None:
    bytes_alone = train_tokenizer(TEXTS, TokenizerConfig(vocab_size=260))
    assert rows(MergeDropout(bytes_alone, TEXTS, 0.5).encode(0)) == bytes_alone.encode_batch(TEXTS)


def test_words_have_no_merges() -> None:
    words = train_tokenizer(TEXTS, TokenizerConfig(name=TokenizerKind.word))
    with pytest.raises(UserError) as caught:
        MergeDropout(words, TEXTS, 0.1)
    assert str(caught.value) == (
        "tokenizer.dropout leaves out BPE merges; this tokenizer is a WordLevel: use "
        "tokenizer=bpe or tokenizer.dropout=0"
    )


@pytest.mark.parametrize("probability", [-0.1, 1.0])
def test_probabilities_out_of_range_are_refused(probability: float) -> None:
    with pytest.raises(UserError, match="must be at least 0 and below 1, got"):
        MergeDropout(BPE, TEXTS, probability)


def test_flat_ids_give_back_chosen_rows() -> None:
    flat = FlatIds.of([[5], [], [7, 8, 9], [6, 4]])
    assert flat.take(np.array([2, 1, 0, 2])).tolist() == [7, 8, 9, 5, 7, 8, 9]
    assert flat.take(np.array([], np.int64)).tolist() == []
