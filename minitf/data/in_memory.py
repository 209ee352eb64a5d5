"""Pairs made in memory as `datasets` objects whose fingerprint is that of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from minitf.config.errors import UserError

if TYPE_CHECKING:
    from datasets import DatasetDict

Pair = tuple[str, str]
"""A source text and its translation."""


def dataset_dict(splits: Mapping[str, Sequence[Pair]]) -> DatasetDict:
    """Makes one data set per split, with string columns `src` and `tgt`.

    The fingerprint (`datasets`' cache key for everything derived from the data) is a digest of the
    split's text, so that it is the same in every process and on every machine.
    """
    from datasets import Dataset, DatasetDict, DatasetInfo, Features, Value
    from datasets.table import InMemoryTable

    features = Features({"src": Value("string"), "tgt": Value("string")})
    made = {}
    for split, pairs in splits.items():
        columns = {"src": [src for src, _ in pairs], "tgt": [tgt for _, tgt in pairs]}
        table = InMemoryTable.from_pydict(columns, schema=features.arrow_schema)
        made[split] = Dataset(
            table, info=DatasetInfo(features=features), fingerprint=content_digest(pairs)
        )
    return DatasetDict(made)


def content_digest(pairs: Sequence[Pair]) -> str:
    """Sixteen hexadecimal digits that depend on the pairs and their order alone."""
    text = "\n".join(f"{src}\t{tgt}" for src, tgt in pairs)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def check_positive(**sizes: int) -> None:
    """Refuses a split size below one.

    Raises:
        UserError: naming the first option that is not positive.
    """
    for option, size in sizes.items():
        if size < 1:
            raise UserError(f"data.{option} must be at least 1, got {size}")
