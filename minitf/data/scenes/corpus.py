"""Sorts sentences into splits.

Which split a sentence belongs to depends on the sentence alone, not on the seed or the sizes:
- if it holds a reserved combination of an adjective or verb with a noun: `compositional`;
- otherwise a digest of the English sentence decides between `train`, `val` and `test`.
So no two splits can share a sentence, not even those of different seeds, and no reserved
combination can occur outside `compositional`.
"""

from __future__ import annotations

import hashlib
import random
from functools import cache
from typing import TYPE_CHECKING

from minitf.config.errors import UserError
from minitf.config.schema import ScenesConfig
from minitf.data.in_memory import Pair, check_positive, dataset_dict
from minitf.data.scenes.chance import Combination
from minitf.data.scenes.sentences import Sentence, sentence

if TYPE_CHECKING:
    from datasets import DatasetDict

RESERVED_SHARE = 1 / 24
"""Of all combinations, the share that only `compositional` holds."""
_TRAIN, _VAL = 0.8, 0.9
"""Upper bounds of the digests of `train` and `val`; the rest is `test`."""
_LARGEST = 10_000_000
"""Pairs in one split; beyond it Python's memory, not the grammar, is the limit."""


def load_scenes(config: ScenesConfig) -> DatasetDict:
    """Generates the corpus.

    Returns:
        Splits `train`, `val`, `test` and `compositional`, without duplicates, with columns `src`
        (English) and `tgt` (German).

    Raises:
        UserError: for a size below one or too large to generate.
    """
    sizes = {
        "train": config.train_size,
        "val": config.val_size,
        "test": config.test_size,
        "compositional": config.compositional_size,
    }
    check_positive(**{f"{split}_size": size for split, size in sizes.items()})
    for split, size in sizes.items():
        if size > _LARGEST:
            raise UserError(f"data.{split}_size must be at most {_LARGEST}, got {size}")
    return dataset_dict(_fill(sizes, random.Random(config.seed)))


def _fill(sizes: dict[str, int], rng: random.Random) -> dict[str, list[Pair]]:
    """Takes the first so many sentences of each split from one endless stream."""
    splits: dict[str, dict[str, str]] = {split: {} for split in sizes}
    open_splits = set(sizes)
    while open_splits:
        drawn = sentence(rng)
        split = split_of(drawn)
        if split in open_splits:
            splits[split][drawn.english] = drawn.german
            if len(splits[split]) == sizes[split]:
                open_splits.remove(split)
    return {split: list(pairs.items()) for split, pairs in splits.items()}


def split_of(drawn: Sentence) -> str:
    """The split that a sentence belongs to."""
    if any(map(is_reserved, drawn.combinations)):
        return "compositional"
    share = _digest(drawn.english)
    return "train" if share < _TRAIN else "val" if share < _VAL else "test"


@cache
def is_reserved(combination: Combination) -> bool:
    """Whether a combination is held out of every split but `compositional`."""
    return _digest(" + ".join(combination)) < RESERVED_SHARE


def _digest(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    digest = hashlib.blake2b(text.encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48
