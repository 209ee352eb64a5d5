"""Encoded pairs whose words are cut differently in each epoch (BPE dropout)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from minitf.batching.pairs import EncodedPairs, FlatSequences, encode_pairs
from minitf.config.errors import UserError
from minitf.config.schema import BatchingConfig, LongPairs
from minitf.tokenizer import TextTokenizer
from minitf.tokenizer.dropout import MergeDropout

if TYPE_CHECKING:
    from datasets import Dataset


class DropoutPairs:
    """A split under BPE dropout: `at_epoch(n)` is what epoch n trains on.

    Lengths differ between epochs, and so does the number of batches: a sampler and a loader are
    made for each epoch. Which pairs are left out for their length is decided without dropout; a
    text that dropout makes longer than `max_length`, or a pair that it makes longer than a batch's
    `tokens`, is read without it.

    Args:
        dataset: with string columns `src` and `tgt`.
        tokenizer: byte-level BPE.
        config: as for `encode_pairs`.
        probability: of leaving out a merge, on both sides.
        seed: of all choices.
        split: the split's name, for messages.

    Raises:
        UserError: As `encode_pairs` and `MergeDropout` do; also for `long_pairs=truncate`.
    """

    def __init__(
        self,
        dataset: Dataset,
        tokenizer: TextTokenizer,
        config: BatchingConfig,
        probability: float,
        *,
        seed: int = 0,
        split: str = "data",
    ) -> None:
        if config.long_pairs == LongPairs.truncate:
            raise UserError(
                "batching.long_pairs=truncate cannot be had with tokenizer.dropout, under which "
                "lengths change; use skip, or dropout 0"
            )
        self.without_dropout = encode_pairs(dataset, tokenizer, config, split=split)
        self._pad_id = tokenizer.pad_id
        self._tokens = config.tokens
        columns = dataset[:]
        rows = self.without_dropout.rows
        self._src, self._tgt = (
            MergeDropout(
                tokenizer,
                [columns[side][row] for row in rows],
                probability,
                seed=2 * seed + offset,
                before=before,
                after=[tokenizer.eos_id],
                max_length=config.max_length + len(before),
            )
            for side, offset, before in (("src", 0, []), ("tgt", 1, [tokenizer.bos_id]))
        )

    def at_epoch(self, epoch: int) -> EncodedPairs:
        """The pairs as epoch `epoch` (from 0) reads them, in host memory."""
        drawn = [
            FlatSequences.of(texts.tokens, texts.lengths, self._pad_id)
            for texts in (self._src.encode(epoch), self._tgt.encode(epoch))
        ]
        pairs = replace(self.without_dropout, src=drawn[0], tgt=drawn[1])
        if self._tokens is None:
            return pairs
        long = np.flatnonzero(pairs.src_lengths + pairs.tgt_lengths > self._tokens)
        if not len(long):
            return pairs
        plain = self.without_dropout
        return replace(
            pairs,
            src=_restored(pairs.src, plain.src, long),
            tgt=_restored(pairs.tgt, plain.tgt, long),
        )


def _restored(
    drawn: FlatSequences, plain: FlatSequences, rows: npt.NDArray[np.int64]
) -> FlatSequences:
    """The drawn sequences, but the plain ones in some rows."""
    pieces, whole = (
        np.split(x.tokens[:-1].numpy(), np.cumsum(x.host_lengths)[:-1]) for x in (drawn, plain)
    )
    for row in rows:
        pieces[row] = whole[row]
    lengths = drawn.host_lengths.copy()
    lengths[rows] = plain.host_lengths[rows]
    return FlatSequences.of(np.concatenate(pieces), lengths, int(drawn.tokens[-1]))
