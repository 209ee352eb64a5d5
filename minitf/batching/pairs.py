"""Encoded pairs: all token numbers of a data split in two flat tensors."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import tokenizers
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from minitf.batching.batch import Batch
from minitf.config.errors import UserError
from minitf.config.schema import BatchingConfig, LongPairs
from minitf.data.cache import kept
from minitf.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from datasets import Dataset

Array = npt.NDArray[np.int64]

_FORMAT = 1
"""Raised when the code below makes other arrays of the same text, tokenizer and options."""


@dataclass(frozen=True)
class FlatSequences:
    """Sequences of token numbers, one after the other, with a pad token at the very end."""

    tokens: Tensor
    """(all tokens + 1,) int32; the last one is padding."""
    starts: Tensor
    """(N,) int64: where each sequence begins; on the device of `tokens`."""
    lengths: Tensor
    """(N,) int64, on the device of `tokens`."""
    host_lengths: Array
    """The same lengths in host memory: a batch's shape is known without asking the device."""

    @classmethod
    def build(cls, rows: Sequence[list[int]], pad_id: int) -> FlatSequences:
        """Store the rows, in host memory."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        tokens = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))
        return cls.of(tokens, lengths, pad_id)

    @classmethod
    def of(cls, tokens: npt.NDArray[np.int32], lengths: Array, pad_id: int) -> FlatSequences:
        """Store sequences that lie one after the other already, in host memory."""
        return cls(
            torch.from_numpy(np.append(tokens, np.int32(pad_id))),
            torch.from_numpy(np.cumsum(lengths) - lengths),
            torch.from_numpy(lengths),
            lengths,
        )

    def to(self, device: torch.device | str) -> FlatSequences:
        """The sequences on a device; their lengths stay in host memory too."""
        return replace(
            self,
            tokens=self.tokens.to(device),
            starts=self.starts.to(device),
            lengths=self.lengths.to(device),
        )

    def gather(self, rows: Tensor, longest: int) -> Tensor:
        """(len(rows), longest) int64, padded on the right; `rows` lie on this device."""
        # (L,) < (B, 1) -> (B, L)
        position = torch.arange(longest, device=rows.device)
        inside = position < self.lengths[rows, None]
        index = torch.where(inside, self.starts[rows, None] + position, self.tokens.numel() - 1)
        return self.tokens[index].long()


@dataclass(frozen=True)
class EncodedPairs(torch.utils.data.Dataset[Batch]):
    """A data split as token numbers, from which batches are gathered where it lies.

    On a CUDA device a batch is made there by index arithmetic, from row numbers that are copied
    without waiting: the host never synchronises with the device.
    """

    src: FlatSequences
    """Each source's tokens and EOS."""
    tgt: FlatSequences
    """BOS, each target's tokens, EOS."""
    rows: Array
    """(N,) row of the data set that pair n was; not n itself once pairs were skipped."""
    num_skipped: int = 0
    """Pairs left out for being longer than `batching.max_length`."""
    num_truncated: int = 0
    """Pairs cut to that length."""
    padded_lengths: tuple[Array, Array] | None = None
    """(N,) source and (N,) target positions that a batch with pair n has at least; None: no more
    than its pairs need."""

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.rows)

    @property
    def device(self) -> torch.device:
        """Where batches are made."""
        return self.src.tokens.device

    @property
    def src_lengths(self) -> Array:
        """(N,) source positions of each pair, EOS counted."""
        return self.src.host_lengths

    @property
    def tgt_lengths(self) -> Array:
        """(N,) positions of each pair's `tgt_out` (or `tgt_in`), EOS counted."""
        return self.tgt.host_lengths - 1

    def to(self, device: torch.device | str) -> EncodedPairs:
        """The pairs on a device."""
        return replace(self, src=self.src.to(device), tgt=self.tgt.to(device))

    def batch(self, indices: Sequence[int] | Array) -> Batch:
        """The batch of these pairs, made on `device`."""
        chosen = np.asarray(indices, np.int64)
        src_lengths, tgt_lengths = self.src_lengths[chosen], self.tgt_lengths[chosen]
        padded = self.padded_lengths or (self.src_lengths, self.tgt_lengths)
        longest_src, longest_tgt = (int(lengths[chosen].max()) for lengths in padded)
        rows = torch.from_numpy(chosen)
        if self.device.type == "cuda":
            rows = rows.pin_memory()
        rows = rows.to(self.device, non_blocking=rows.is_pinned())
        return Batch(
            src=self.src.gather(rows, longest_src),
            tgt=self.tgt.gather(rows, longest_tgt + 1),
            indices=self.rows[chosen].tolist(),
            num_source_tokens=int(src_lengths.sum()),
            num_target_tokens=int(tgt_lengths.sum()),
        )

    def __getitem__(self, index: int) -> Batch:
        """The batch of one pair."""
        return self.batch([index])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """`batch`, under the name by which torch's DataLoader asks for a whole batch."""
        return self.batch(indices)


def encode_pairs(
    dataset: Dataset,
    tokenizer: TextTokenizer,
    config: BatchingConfig,
    *,
    split: str = "data",
    cache_dir: Path | None = None,
) -> EncodedPairs:
    """Encode a split's `src` and `tgt` columns, in host memory.

    Args:
        dataset: with string columns `src` and `tgt`.
        tokenizer: the run's.
        config: `max_length` and what to do with pairs beyond it.
        split: the split's name, for messages.
        cache_dir: where encoded pairs are kept, by a digest of the text, the tokenizer and
            `config`; None: always encode.

    Raises:
        UserError: A pair is longer than `max_length` and `long_pairs` is `error`, or none is left.
    """
    if config.max_length < 2:
        raise UserError(
            f"batching.max_length must be at least 2 (a token and its end), got {config.max_length}"
        )
    if cache_dir is None:
        return _encode(dataset, tokenizer, config, split)
    depends_on = (
        _FORMAT, tokenizers.__version__, dataset._fingerprint, tokenizer.fingerprint,
        config.max_length, config.long_pairs.value,
    )  # fmt: skip
    digest = hashlib.blake2b(repr(depends_on).encode(), digest_size=16).hexdigest()
    return kept(
        cache_dir / f"pairs-{digest}.safetensors",
        lambda: _encode(dataset, tokenizer, config, split),
        lambda path: _load(path, tokenizer.pad_id),
        _save,
    )


def _encode(
    dataset: Dataset, tokenizer: TextTokenizer, config: BatchingConfig, split: str
) -> EncodedPairs:
    columns = dataset[:]  # whole columns: row by row takes seconds
    src, tgt = tokenizer.encode_batch(columns["src"]), tokenizer.encode_batch(columns["tgt"])
    longest = config.max_length - 1
    long = [n for n in range(len(src)) if max(len(src[n]), len(tgt[n])) > longest]
    kept = list(range(len(src)))
    if long and config.long_pairs == LongPairs.error:
        n = long[0]
        side, ids = ("source", src[n]) if len(src[n]) > longest else ("target", tgt[n])
        raise UserError(
            f"{split}, pair {n + 1}: the {side} has {len(ids) + 1} tokens, more than "
            f"batching.max_length={config.max_length} ({len(long)} such "
            f"{'pair' if len(long) == 1 else 'pairs'}); raise it, or set batching.long_pairs=skip "
            "or truncate"
        )
    if config.long_pairs == LongPairs.skip:
        left_out = set(long)
        kept = [n for n in kept if n not in left_out]
    if not kept:
        raise UserError(
            f"{split}: no pair is left of {len(src)}; batching.max_length={config.max_length}"
        )
    bos, eos, pad = tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id
    return EncodedPairs(
        src=FlatSequences.build([[*src[n][:longest], eos] for n in kept], pad),
        tgt=FlatSequences.build([[bos, *tgt[n][:longest], eos] for n in kept], pad),
        rows=np.array(kept, np.int64),
        num_skipped=len(src) - len(kept),
        num_truncated=len(long) if config.long_pairs == LongPairs.truncate else 0,
    )


def _save(pairs: EncodedPairs, path: Path) -> None:
    counts = np.array([pairs.num_skipped, pairs.num_truncated])
    arrays = {"rows": pairs.rows, "counts": counts}
    for side, sequences in (("src", pairs.src), ("tgt", pairs.tgt)):
        arrays[f"{side}_tokens"] = sequences.tokens[:-1].numpy()
        arrays[f"{side}_lengths"] = sequences.host_lengths
    try:
        save_file(arrays, path)
    except SafetensorError as error:  # such as a full disk
        raise OSError(str(error)) from error


def _load(path: Path, pad_id: int) -> EncodedPairs:
    arrays = load_file(path)
    src, tgt = (
        FlatSequences.of(arrays[f"{side}_tokens"], arrays[f"{side}_lengths"], pad_id)
        for side in ("src", "tgt")
    )
    return EncodedPairs(src, tgt, arrays["rows"], *arrays["counts"].tolist())
