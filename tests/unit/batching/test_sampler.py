"""Batches: each pair once, within the budget, a pure function of seed and epoch, fair to ranks."""

import hashlib
import os
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitf.batching import BatchSampler
from minitf.batching.sampler import cut_by_tokens, split_to_multiple
from minitf.config.errors import UserError

LENGTHS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=211)


def sampler(lengths: list[tuple[int, int]], **options: object) -> BatchSampler:
    src, tgt = zip(*lengths, strict=True)
    return BatchSampler(src, tgt, **options)  # type: ignore[arg-type]


def positions(batch: list[int], lengths: list[tuple[int, int]]) -> int:
    longest = max(lengths[n][0] for n in batch) + max(lengths[n][1] for n in batch)
    return len(batch) * longest


@given(LENGTHS, st.integers(60, 400), st.integers(0, 2**40), st.integers(0, 99), st.booleans())
def test_each_pair_comes_once_and_no_batch_exceeds_the_budget(
    lengths: list[tuple[int, int]], tokens: int, seed: int, epoch: int, shuffle: bool
) -> None:
    batches = sampler(lengths, tokens=tokens, seed=seed, shuffle=shuffle)
    batches.set_position(epoch)
    chosen = list(batches)
    assert sorted(n for batch in chosen for n in batch) == list(range(len(lengths)))
    assert all(0 < positions(batch, lengths) <= tokens for batch in chosen)
    assert len(chosen) == len(batches)


@given(LENGTHS, st.integers(1, 50))
def test_a_number_of_sentences_instead(lengths: list[tuple[int, int]], sentences: int) -> None:
    sizes = sorted(map(len, sampler(lengths, sentences=sentences)))
    full, rest = divmod(len(lengths), sentences)
    assert sizes == sorted([sentences] * full + [rest] * (rest > 0))


@given(LENGTHS, st.integers(60, 400), st.integers(1, 5), st.integers(0, 9))
def test_ranks_share_an_epoch_equally(
    lengths: list[tuple[int, int]], tokens: int, world_size: int, epoch: int
) -> None:
    if len(lengths) < world_size:
        with pytest.raises(UserError, match=f"cannot be shared by {world_size} processes"):
            sampler(lengths, tokens=tokens, world_size=world_size)
        return
    ranks = [
        sampler(lengths, tokens=tokens, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    parts = [[batch.tolist() for batch in one.batches(epoch)] for one in ranks]
    assert len({len(part) for part in parts} | {len(one) for one in ranks}) == 1
    everything = [n for part in parts for batch in part for n in batch]
    assert sorted(everything) == list(range(len(lengths)))


RANDOM = [tuple(pair) for pair in np.random.default_rng(0).integers(1, 31, (997, 2)).tolist()]


def test_every_epoch_has_as_many_batches_but_others() -> None:
    one = sampler(RANDOM, tokens=400)
    epochs = [{frozenset(batch.tolist()) for batch in one.batches(epoch)} for epoch in range(4)]
    assert {len(epoch) for epoch in epochs} == {len(one)}
    for first, second in pairwise(epochs):
        assert len(first & second) <= 0.05 * len(first)


def test_companions_change_between_epochs() -> None:
    one = sampler(RANDOM, tokens=400)
    before, after = ([batch.tolist() for batch in one.batches(epoch)] for epoch in (0, 1))
    place = {n: k for k, batch in enumerate(after) for n in batch}
    kept = [place[a] == place[b] for batch in before for a, b in pairwise(batch)]
    assert sum(kept) < 0.4 * len(kept)


def test_the_order_of_batches_says_nothing_about_length() -> None:
    one = sampler(RANDOM, tokens=400)
    lengths = [RANDOM[batch[0]][0] for batch in one.batches(0)]
    assert abs(np.corrcoef(lengths, np.arange(len(lengths)))[0, 1]) < 0.2


def test_seeds_give_different_orders() -> None:
    first, second = (sampler(RANDOM, tokens=400, seed=seed) for seed in (1, 2))
    assert list(first) != list(second)


def test_unshuffled_batches_are_the_same_in_every_epoch() -> None:
    one = sampler(RANDOM, tokens=400, shuffle=False, seed=5)
    first = list(one)
    one.set_position(7)
    assert list(one) == first == list(sampler(RANDOM, tokens=400, shuffle=False, seed=6))


def padding(batches: list[list[int]], lengths: list[tuple[int, int]]) -> float:
    return 1 - sum(map(sum, lengths)) / sum(positions(batch, lengths) for batch in batches)


def test_little_is_padding_where_lengths_repeat() -> None:
    # Like Multi30k: lengths around 15, target near source, 30 batches' worth.
    generator = np.random.default_rng(1)
    src = np.clip(generator.normal(15, 4, 4_001).round(), 2, 40).astype(int)
    tgt = np.clip(src + generator.normal(0, 2.5, 4_001).round(), 2, 40).astype(int)
    lengths = list(zip(src.tolist(), tgt.tolist(), strict=True))
    assert padding(list(sampler(lengths, tokens=1_024)), lengths) < 0.08
    assert padding(list(sampler(lengths, sentences=31)), lengths) < 0.08
    assert padding(list(sampler(lengths, tokens=1_024, shuffle=False)), lengths) < 0.05


@pytest.mark.parametrize("skip", [0, 1, 17, 10_000])
def test_a_skip_leaves_the_rest_as_it_was(skip: int) -> None:
    one = sampler(RANDOM, tokens=400)
    one.set_position(3)
    whole = list(one)
    one.set_position(3, skip)
    assert list(one) == whole[skip:]
    assert len(one) == len(whole)


DIGEST = """
import hashlib
import numpy as np
from minitf.batching import BatchSampler
lengths = np.random.default_rng(0).integers(1, 31, (997, 2))
one = BatchSampler(lengths[:, 0], lengths[:, 1], tokens=400, seed=7)
one.set_position(5)
print(hashlib.sha256(repr(list(one)).encode()).hexdigest())
"""


def test_another_process_makes_the_same_batches() -> None:
    one = sampler(RANDOM, tokens=400, seed=7)
    one.set_position(5)
    here = hashlib.sha256(repr(list(one)).encode()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", DIGEST],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"},
    ).stdout.strip()
    assert there == here


def test_cuts_by_hand() -> None:
    # 2 x (2 + 3) = 10 fits; 3 x (2 + 3) does not; 1 x (9 + 1) does.
    assert cut_by_tokens(np.array([2, 2, 2, 9]), np.array([1, 3, 1, 1]), 10) == [0, 2, 3]


def test_splitting_halves_the_largest() -> None:
    assert split_to_multiple([0, 2, 9, 10], 4) == [0, 2, 5, 9, 10]
    assert split_to_multiple([0, 2, 9, 10], 3) == [0, 2, 9, 10]
    assert split_to_multiple([0, 1, 2, 3, 4, 5], 3) == [0, 1, 2, 5]  # none is left empty


REFUSED = {
    "both": (
        {"tokens": 99, "sentences": 3},
        "exactly one of batching.tokens and batching.sentences must be a number, got tokens=99, "
        "sentences=3; set the other to null",
    ),
    "neither": (
        {},
        "exactly one of batching.tokens and batching.sentences must be a number, got tokens=None, "
        "sentences=None; give one of them a number",
    ),
    "no tokens": ({"tokens": 0}, "batching.tokens must be at least 1, got 0"),
    "no sentences": ({"sentences": -1}, "batching.sentences must be at least 1, got -1"),
    "a budget smaller than a pair": (
        {"tokens": 11},
        "pair 2 has 7 source and 5 target tokens, more than batching.tokens=11; raise it to 12, "
        "or lower batching.max_length with batching.long_pairs=skip",
    ),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_one_line(options: dict[str, int], message: str) -> None:
    with pytest.raises(UserError) as caught:
        sampler([(3, 4), (7, 5), (6, 2)], **options)
    assert str(caught.value) == message
