"""Grouping pairs of like lengths, so that shuffling inside a group costs little padding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.int64]


def length_buckets(src: Array, tgt: Array, is_small: Callable[[int, int], bool]) -> Array:
    """Give each pair the number of its bucket; neighbouring numbers are of like lengths.

    A k-d tree over (source length, target length): a bucket that is too large is cut in two, at
    the source or target length where the two parts take the fewest positions in all, each padded
    to its own longest source and target.

    Args:
        src: (N,) source lengths.
        tgt: (N,) target lengths.
        is_small: whether a bucket of so many pairs, each of so many positions when padded, need
            not be cut any more.

    Returns:
        (N,) numbers from 0. Pairs of equal lengths share a bucket.
    """
    # Pairs of equal lengths stay together: cut the distinct lengths, weighted by their pairs.
    lengths, cell, pairs = np.unique(
        np.stack([src, tgt], axis=1), axis=0, return_inverse=True, return_counts=True
    )
    bucket_of_cell = np.empty(len(lengths), np.int64)
    stack, number = [np.arange(len(lengths))], 0
    while stack:
        cells = stack.pop()
        padded = int(lengths[cells].max(axis=0).sum())
        parts = None
        if not is_small(int(pairs[cells].sum()), padded):
            parts = _cut(lengths[cells], pairs[cells])
        if parts is None:
            bucket_of_cell[cells] = number
            number += 1
        else:
            shorter, longer = parts
            stack += [cells[longer], cells[shorter]]
    return bucket_of_cell[cell.ravel()]


def _cut(lengths: Array, pairs: Array) -> tuple[Array, Array] | None:
    """The cheapest cut along source or target length: positions of both parts' cells."""
    best: tuple[int, Array, Array] | None = None
    for side in (0, 1):
        order = np.argsort(lengths[:, side], kind="stable")
        places = np.flatnonzero(np.diff(lengths[order, side]))  # after these, the length changes
        if len(places) == 0:
            continue
        count = np.cumsum(pairs[order])
        shorter = np.maximum.accumulate(lengths[order], axis=0).sum(axis=1)
        longer = np.maximum.accumulate(lengths[order][::-1], axis=0)[::-1].sum(axis=1)
        cost = count[places] * shorter[places] + (count[-1] - count[places]) * longer[places + 1]
        n = int(cost.argmin())
        if best is None or cost[n] < best[0]:
            best = int(cost[n]), order[: places[n] + 1], order[places[n] + 1 :]
    return None if best is None else best[1:]
