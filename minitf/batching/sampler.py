"""Which pairs go together in a batch, and in which order the batches come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from minitf.batching.buckets import length_buckets
from minitf.config.errors import UserError

Array = npt.NDArray[np.int64]

_BUCKET_POSITIONS, _BUCKET_BATCHES = 16_384, (2, 4)
"""How much a bucket holds, in positions and, whatever these are, in batches from 2 to 4.
More mix better and pad more: on Multi30k, with batches of 4,096 tokens, 3.7% of positions are
padding and a quarter of a pair's companions are the same in the next epoch; with 8,192, 4.9%."""


class BatchSampler(torch.utils.data.Sampler[list[int]]):
    """Batches of like lengths, within a budget of positions or of a fixed number of sentences.

    The pairs are put into buckets of like lengths, a few batches each, and the sequence of buckets
    is cut into batches, both once. In each epoch the pairs of a bucket change places with each
    other at random, and the batches are shuffled. So every epoch has other batches but the same
    number of them, and each pair comes exactly once per epoch.

    All is a pure function of the arguments and the epoch: a run continues exactly from
    `set_position(epoch, skip)`, in any process.

    Args:
        src_lengths: (N,) source positions of each pair.
        tgt_lengths: (N,) target positions of each pair.
        tokens: the most source plus target positions in a batch, padding counted.
        sentences: the number of pairs in a batch, instead of `tokens`.
        seed: of the shuffles.
        shuffle: False: the same batches in the same order in every epoch, with less padding.
        rank: this process' number.
        world_size: number of processes; each gets the same number of batches, all different.

    Attributes:
        padded_lengths: (N,) source and (N,) target positions of the longest pairs in each pair's
            bucket. Padded to these, the batches of every epoch have the same shapes.
        announced: the epoch that Lightning last said it begins.

    Raises:
        UserError: Not exactly one of `tokens` and `sentences`, one out of range, a pair that is
            longer than the budget, or fewer pairs than processes.
    """

    def __init__(
        self,
        src_lengths: Sequence[int] | Array,
        tgt_lengths: Sequence[int] | Array,
        *,
        tokens: int | None = None,
        sentences: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        src, tgt = np.asarray(src_lengths, np.int64), np.asarray(tgt_lengths, np.int64)
        _check(src, tgt, tokens, sentences, world_size)
        self._seed, self._shuffle = seed, shuffle
        self._rank, self._world_size = rank, world_size
        size = _bucket_batches(tokens) if shuffle else 1
        self._bucket = length_buckets(
            src,
            tgt,
            lambda pairs, padded: (
                pairs <= size * sentences if sentences else pairs * padded <= size * (tokens or 0)
            ),
        )
        order = np.argsort(self._bucket, kind="stable")
        # Within a bucket any pair may take any place, so a place counts as long as its bucket's
        # longest.
        src, tgt = _bucket_longest(src, self._bucket), _bucket_longest(tgt, self._bucket)
        self.padded_lengths = src, tgt
        if sentences is not None:
            cuts = list(range(0, len(order), sentences))
        else:
            cuts = cut_by_tokens(src[order], tgt[order], tokens or 0)
        self._cuts = np.array(split_to_multiple([*cuts, len(order)], world_size), np.int64)
        self._epoch = self._skip = 0
        self.announced: int | None = None

    def __len__(self) -> int:
        """Batches that this rank gets in an epoch, the same in all epochs and on all ranks."""
        return (len(self._cuts) - 1) // self._world_size

    @property
    def sampler(self) -> BatchSampler:
        """Itself: here Lightning looks for `set_epoch`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Hear which epoch Lightning begins, or goes on with after a resume."""
        self.announced = epoch

    def set_position(self, epoch: int, skip: int = 0) -> None:
        """Let the next iteration begin at batch `skip` (from 0) of this epoch."""
        self._epoch, self._skip = epoch, skip

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the pairs' numbers, batch by batch, from the position set."""
        for batch in self.batches(self._epoch)[self._skip :]:
            yield batch.tolist()

    def batches(self, epoch: int) -> list[Array]:
        """All batches of an epoch for this rank."""
        if not self._shuffle:
            order = np.argsort(self._bucket, kind="stable")
            return np.split(order, self._cuts[1:-1])[self._rank :: self._world_size]
        generator = np.random.default_rng([self._seed, epoch])
        order = generator.permutation(len(self._bucket))
        order = order[np.argsort(self._bucket[order], kind="stable")]
        batches = np.split(order, self._cuts[1:-1])
        chosen = generator.permutation(len(batches))[self._rank :: self._world_size]
        return [batches[n] for n in chosen]


def _bucket_batches(tokens: int | None) -> int:
    fewest, most = _BUCKET_BATCHES
    return most if tokens is None else min(max(_BUCKET_POSITIONS // tokens, fewest), most)


def cut_by_tokens(src: Array, tgt: Array, tokens: int) -> list[int]:
    """Where to cut a sequence of lengths so that no batch exceeds the budget, greedily.

    A pair that is longer than the budget has a batch of its own.

    Returns:
        The first place of each batch.
    """
    cuts = [0]
    longest_src = longest_tgt = 0
    for place, (s, t) in enumerate(zip(src.tolist(), tgt.tolist(), strict=True)):
        longest_src, longest_tgt = max(longest_src, s), max(longest_tgt, t)
        if place and (place + 1 - cuts[-1]) * (longest_src + longest_tgt) > tokens:
            cuts.append(place)
            longest_src, longest_tgt = s, t
    return cuts


def split_to_multiple(cuts: list[int], multiple: int) -> list[int]:
    """Halve the batches of most pairs until their number is a multiple of the given one.

    Where each has one pair alone, the last ones are put together instead, beyond the budget.
    """
    while (len(cuts) - 1) % multiple:
        sizes = np.diff(cuts)
        largest = int(sizes.argmax())
        if sizes[largest] == 1:
            del cuts[-1 - (len(cuts) - 1) % multiple : -1]
            break
        cuts.insert(largest + 1, cuts[largest] + int(sizes[largest]) // 2)
    return cuts


def _bucket_longest(lengths: Array, bucket: Array) -> Array:
    longest = np.zeros(int(bucket.max()) + 1, np.int64)
    np.maximum.at(longest, bucket, lengths)
    return longest[bucket]


def _check(
    src: Array, tgt: Array, tokens: int | None, sentences: int | None, world_size: int
) -> None:
    check_size(tokens, sentences)
    if len(src) < world_size:
        raise UserError(f"{len(src)} pairs cannot be shared by {world_size} processes")
    check_budget(src, tgt, tokens, lambda place: f"pair {place + 1}")


def check_size(tokens: int | None, sentences: int | None) -> None:
    """Refuse a batch size that is none, or two.

    Raises:
        UserError: both or neither is a number, or one is below 1.
    """
    if (tokens is None) == (sentences is None):
        advice = "give one of them a number" if tokens is None else "set the other to null"
        raise UserError(
            "exactly one of batching.tokens and batching.sentences must be a number, got "
            f"tokens={tokens}, sentences={sentences}; {advice}"
        )
    for name, value in (("tokens", tokens), ("sentences", sentences)):
        if value is not None and value < 1:
            raise UserError(f"batching.{name} must be at least 1, got {value}")


def check_budget(src: Array, tgt: Array, tokens: int | None, name: Callable[[int], str]) -> None:
    """Refuse a pair that fits into no batch, by the name that its place has.

    Raises:
        UserError: one is longer than the budget.
    """
    if tokens is None or not len(src) or (longest := int((src + tgt).max())) <= tokens:
        return
    place = int((src + tgt).argmax())
    raise UserError(
        f"{name(place)} has {src[place]} source and {tgt[place]} target tokens, more than "
        f"batching.tokens={tokens}; raise it to {longest}, or lower batching.max_length with "
        "batching.long_pairs=skip"
    )
