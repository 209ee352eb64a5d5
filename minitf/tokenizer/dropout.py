"""BPE dropout: the same words cut differently in each epoch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from minitf.config.errors import UserError
from minitf.tokenizer.pieces import BYTES, words_of
from minitf.tokenizer.text_tokenizer import Ids, TextTokenizer

Array = npt.NDArray[np.int64]

_FEWEST_VARIANTS, _MOST_VARIANTS = 8, 64
_NO_MERGE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class FlatIds:
    """Sequences of token numbers, one after the other."""

    tokens: npt.NDArray[np.int32]
    lengths: Array

    @property
    def starts(self) -> Array:
        """Where each sequence begins."""
        return np.cumsum(self.lengths) - self.lengths

    def take(self, numbers: Array) -> npt.NDArray[np.int32]:
        """The tokens of these sequences, one after the other."""
        lengths = self.lengths[numbers]
        before = np.cumsum(lengths) - lengths
        shift = np.repeat(self.starts[numbers] - before, lengths)
        place: Array = np.arange(len(shift)) + shift
        return self.tokens[place]

    @classmethod
    def of(cls, rows: Sequence[Ids]) -> FlatIds:
        """Store the rows."""
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        tokens = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))
        return cls(tokens, lengths)


class MergeDropout:
    """Encodes given texts anew for each epoch, each merge left out with some probability.

    This is BPE dropout (Provilkov et al. 2020, algorithm 1). The `tokenizers` package has it too,
    but draws from a generator that cannot be seeded: a resumed run would differ. Here the result
    is a pure function of the arguments and the epoch. For speed, each distinct word is cut at
    random a number of times beforehand (8 to 64, by its frequency), and every occurrence picks one
    of these at random in each epoch; an epoch costs as much as copying its tokens.

    Args:
        tokenizer: byte-level BPE.
        texts: what is encoded, always in this order.
        probability: of leaving out a merge; 0.1 in the paper.
        seed: of all choices.
        before: token numbers that begin every text.
        after: token numbers that end every text.
        max_length: texts that come out longer are cut as without dropout, that is, shorter.

    Raises:
        UserError: The tokenizer has no merges, or the probability is out of range.
    """

    def __init__(
        self,
        tokenizer: TextTokenizer,
        texts: Sequence[str],
        probability: float,
        *,
        seed: int = 0,
        before: Sequence[int] = (),
        after: Sequence[int] = (),
        max_length: int | None = None,
    ) -> None:
        if not 0 <= probability < 1:
            raise UserError(f"tokenizer.dropout must be at least 0 and below 1, got {probability}")
        self._seed, self._max_length = seed, max_length
        merges = Merges(tokenizer)
        # Specials are words of their own that nothing merges with.
        words: dict[str | int, int] = {}
        rows: list[Ids] = []
        for text in texts:
            found: list[str | int] = [*before, *words_of(tokenizer.backend, text), *after]
            rows.append([words.setdefault(word, len(words)) for word in found])
        self._words = FlatIds.of(rows)
        uncut = FlatIds.of([[w] if isinstance(w, int) else merges.bytes_of(w) for w in words])
        drawn = np.clip(np.bincount(self._words.tokens), _FEWEST_VARIANTS, _MOST_VARIANTS)
        drawn[uncut.lengths == 1] = 0
        # By word: its variant without dropout, its first random one, the number of these.
        self._whole = np.cumsum(drawn + 1) - (drawn + 1)
        self._drawn = self._whole + (drawn > 0)
        self._number = np.maximum(drawn, 1)
        probabilities = np.full(int((drawn + 1).sum()), probability)
        probabilities[self._whole] = 0
        self._variants = merges.cut(
            uncut, np.repeat(np.arange(len(words)), drawn + 1), probabilities,
            np.random.default_rng(seed),
        )  # fmt: skip

    def encode(self, epoch: int) -> FlatIds:
        """All texts, as they are to be read in this epoch."""
        words = self._words.tokens
        share = np.random.default_rng([self._seed, epoch]).random(len(words))
        chosen = self._drawn[words] + (share * self._number[words]).astype(np.int64)
        text = np.repeat(np.arange(len(self._words.lengths)), self._words.lengths)
        if self._max_length is not None:
            too_long = self._text_lengths(text, chosen) > self._max_length
            chosen = np.where(too_long[text], self._whole[words], chosen)
        return FlatIds(self._variants.take(chosen), self._text_lengths(text, chosen))

    def _text_lengths(self, text: Array, chosen: Array) -> Array:
        lengths = np.bincount(
            text, self._variants.lengths[chosen], minlength=len(self._words.lengths)
        )
        return lengths.astype(np.int64)


class Merges:
    """The merges of a BPE tokenizer, applied to single words."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        model = json.loads(tokenizer.backend.to_str())["model"]
        if model["type"] != "BPE":
            raise UserError(
                f"tokenizer.dropout leaves out BPE merges; this tokenizer is a {model['type']}: "
                "use tokenizer=bpe or tokenizer.dropout=0"
            )
        vocabulary: dict[str, int] = model["vocab"]
        self._bytes = {character: vocabulary[character] for character in BYTES}
        left, right = (
            np.array([vocabulary[merge[side]] for merge in model["merges"]], np.int64)
            for side in (0, 1)
        )
        made = np.array([vocabulary[a + b] for a, b in model["merges"]], np.int64)
        # Pairs of tokens as single numbers, in ascending order for looking them up.
        self._size = len(vocabulary)
        keys = left * self._size + right
        self._rank = np.argsort(keys)
        self._keys, self._made = keys[self._rank], made[self._rank]

    def bytes_of(self, word: str) -> Ids:
        """The word before any merge."""
        return [self._bytes[character] for character in word]

    def cut(
        self,
        words: FlatIds,
        rows: Array,
        probabilities: npt.NDArray[np.float64],
        generator: np.random.Generator,
    ) -> FlatIds:
        """Cut `words[row]` for each of `rows`, leaving out merges with its probability.

        At each step every possible merge of a word is left out with the probability, and of the
        others the one that was learnt first is made; a word is done when no merge is possible or
        all were left out. All words of one length take this step together.
        """
        done: list[tuple[Array, Array]] = []
        for length in np.unique(words.lengths[rows]):
            active = np.flatnonzero(words.lengths[rows] == length)
            # (words, length), and one column less with every merge
            place = words.starts[rows[active], None] + np.arange(length)
            tokens: Array = words.tokens[place].astype(np.int64)
            while len(active):
                rank, made = self._look_up(tokens)
                rank[generator.random(rank.shape) < probabilities[active, None]] = _NO_MERGE
                rank = np.pad(rank, ((0, 0), (0, 1)), constant_values=_NO_MERGE)
                place = rank.argmin(axis=1)
                merging = rank[np.arange(len(rank)), place] < _NO_MERGE
                done.append((active[~merging], tokens[~merging]))
                active, tokens, place = active[merging], tokens[merging], place[merging]
                row = np.arange(len(active))
                tokens[row, place] = made[merging][row, place]
                kept = np.arange(tokens.shape[1] - 1)
                kept = kept + (kept > place[:, None])
                tokens = np.take_along_axis(tokens, kept, axis=1)
        return _in_order(done, len(rows))

    def _look_up(self, tokens: Array) -> tuple[Array, Array]:
        """(N, L) -> (N, L - 1) rank of each pair's merge, and the token that it makes."""
        keys = tokens[:, :-1] * self._size + tokens[:, 1:]
        if len(self._keys) == 0:
            return np.full_like(keys, _NO_MERGE), keys
        place = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        known = self._keys[place] == keys
        return np.where(known, self._rank[place], _NO_MERGE), self._made[place]


def _in_order(parts: list[tuple[Array, Array]], number: int) -> FlatIds:
    """From (row numbers, their tokens) to all rows in order."""
    lengths = np.zeros(number, np.int64)
    for rows, tokens in parts:
        lengths[rows] = tokens.shape[1]
    flat = FlatIds(np.empty(int(lengths.sum()), np.int32), lengths)
    starts = flat.starts
    for rows, tokens in parts:
        flat.tokens[starts[rows, None] + np.arange(tokens.shape[1])] = tokens
    return flat
