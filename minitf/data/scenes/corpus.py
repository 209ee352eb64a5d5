"""Sorts sentences into splits.

Which split a sentence belongs to depends on the sentence alone, not on the seed or the sizes:
- if it holds a reserved combination of an adjective or verb with a noun: `compositional`;
- otherwise a digest of the English sentence decides between `train`, `val` and `test`.
So no two splits can share a sentence, not even those of different seeds, and no reserved
combination can occur outside `compositional`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from minitf.config.errors import UserError
from minitf.config.schema import ScenesConfig
from minitf.data.in_memory import Pair, check_positive, dataset_dict
from minitf.data.scenes.activities import PLAIN
from minitf.data.scenes.chance import Combination, combination
from minitf.data.scenes.nominals import ADJECTIVES_OF
from minitf.data.scenes.sentences import Sentence, sentence

if TYPE_CHECKING:
    from datasets import DatasetDict

_RESERVED_SHARE = 1 / 20
"""Of the combinations that can be spared, the share that only `compositional` holds."""
_OTHERS = 5
"""A combination can be spared if each of its parts goes with so many others."""
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


def scenes_digest(config: ScenesConfig) -> str:
    """Sixteen hexadecimal digits that stand for the corpus: of its options and of the grammar."""
    digest = hashlib.blake2b(repr(dataclasses.astuple(config)).encode(), digest_size=8)
    here = Path(__file__).parent
    for file in sorted([*here.glob("*.py"), *here.glob("tables/*.txt")]):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


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


def is_reserved(pair: Combination) -> bool:
    """Whether a combination is held out of every split but `compositional`."""
    return pair in RESERVED


def _reserved() -> frozenset[Combination]:
    """Chooses the combinations that are held out, by their digests."""
    possible = {
        combination(adjective, noun)
        for noun, adjectives in ADJECTIVES_OF.items()
        for adjective in adjectives
    }
    possible |= {combination(frame.verb, noun) for frame in PLAIN for noun in frame.accusatives}
    used = Counter(word for pair in possible for word in pair)
    return frozenset(
        pair
        for pair in possible
        if min(used[word] for word in pair) > _OTHERS
        and _digest(" + ".join(pair)) < _RESERVED_SHARE
    )


def _digest(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    digest = hashlib.blake2b(text.encode(), digest_size=6).digest()
    return int.from_bytes(digest, "big") / 2**48


RESERVED = _reserved()
