"""Buckets: like lengths together, small enough, cut where it saves most."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minitf.batching.buckets import length_buckets

LENGTHS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=211)


def buckets(lengths: list[tuple[int, int]], budget: int) -> list[int]:
    src, tgt = np.array(lengths).T
    return length_buckets(src, tgt, lambda pairs, padded: pairs * padded <= budget).tolist()


def test_a_cut_by_hand() -> None:
    # Cut at source 2 | 9: 2 x (2 + 5) + 2 x (9 + 4) = 40 positions, fewer than at any target.
    assert buckets([(9, 3), (2, 5), (2, 3), (9, 4)], 40) == [1, 0, 0, 1]


def test_each_part_is_padded_to_its_own_longest() -> None:
    # At source 1 | 2: (1 + 9) + 2 x (3 + 1) = 18; at 2 | 3: 2 x (2 + 9) + (3 + 1) = 26.
    assert buckets([(1, 9), (2, 1), (3, 1)], 17) == [0, 1, 1]


def test_a_small_bucket_is_left_whole() -> None:
    assert buckets([(9, 3), (2, 5), (2, 3), (9, 4)], 4 * (9 + 5)) == [0, 0, 0, 0]


def test_pairs_of_equal_lengths_are_never_cut_apart() -> None:
    assert buckets([(7, 3)] * 5, 1) == [0] * 5


@given(LENGTHS, st.integers(1, 3_000))
def test_every_bucket_is_small_or_cannot_be_cut(
    lengths: list[tuple[int, int]], budget: int
) -> None:
    numbers = buckets(lengths, budget)
    assert set(numbers) == set(range(max(numbers) + 1))
    for bucket in set(numbers):
        inside = [pair for pair, number in zip(lengths, numbers, strict=True) if number == bucket]
        padded = max(s for s, _ in inside) + max(t for _, t in inside)
        assert len(inside) * padded <= budget or len(set(inside)) == 1


@given(LENGTHS)
def test_equal_lengths_share_a_bucket(lengths: list[tuple[int, int]]) -> None:
    numbers = buckets(lengths, 100)
    assert len({*zip(lengths, numbers, strict=True)}) == len(set(lengths))


def test_many_buckets_need_no_recursion() -> None:
    # Doubling costs make each cut take one cell off the end.
    lengths = [(n, 1) for n in range(1, 3_001)]
    assert len(set(buckets(lengths, 1))) == 3_000
