"""Pairs made in memory as `datasets` objects whose fingerprint is that of their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minitf.config.errors import UserError

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

Pair = tuple[str, str]
"""A source text and its translation."""


def dataset_dict(splits: Mapping[str, Sequence[Pair]]) -> DatasetDict:
    """Makes one data set per split, with string columns `src` and `tgt`.

    The fingerprint (`datasets`' cache key for everything derived from the data) is a digest of the
    split's text, so that it is the same in every process and on every machine.
    """
    import pyarrow
    from datasets import DatasetDict

    made = {}
    for split, pairs in splits.items():
        columns = {"src": [src for src, _ in pairs], "tgt": [tgt for _, tgt in pairs]}
        made[split] = _dataset(pyarrow.table(columns), content_digest(pairs))
    return DatasetDict(made)


def save_splits(splits: DatasetDict, folder: Path) -> None:
    """Writes what `dataset_dict` gave into a new folder."""
    from pyarrow import feather

    folder.mkdir()
    for split, rows in splits.items():
        feather.write_feather(rows.data.table, folder / f"{split}.arrow")
    digests = {split: rows._fingerprint for split, rows in splits.items()}
    (folder / "splits.json").write_text(json.dumps(digests))


def load_splits(folder: Path) -> DatasetDict:
    """Reads what `save_splits` wrote: equal to the last fingerprint."""
    from datasets import DatasetDict
    from pyarrow import feather

    digests = json.loads((folder / "splits.json").read_text())
    return DatasetDict({
        split: _dataset(feather.read_table(folder / f"{split}.arrow"), digest)
        for split, digest in digests.items()
    })  # fmt: skip


def _dataset(table: Any, fingerprint: str) -> Dataset:
    from datasets import Dataset, DatasetInfo, Features, Value
    from datasets.table import InMemoryTable

    features = Features({"src": Value("string"), "tgt": Value("string")})
    table = InMemoryTable(table.cast(features.arrow_schema))
    return Dataset(table, info=DatasetInfo(features=features), fingerprint=fingerprint)


def content_digest(pairs: Sequence[Pair]) -> str:
    """Sixteen hexadecimal digits that depend on the pairs and their order alone."""
    text = json.dumps(list(pairs), ensure_ascii=False)  # a text may hold tabs and newlines
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def check_positive(**sizes: int) -> None:
    """Refuses a split size below one.

    Raises:
        UserError: naming the first option that is not positive.
    """
    for option, size in sizes.items():
        if size < 1:
            raise UserError(f"data.{option} must be at least 1, got {size}")
