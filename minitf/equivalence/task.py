"""What whole models are compared on: batches of sentence pairs as token ids.

The batches are made here, in plain torch, so that neither implementation's framework stands between
the two: a fixed number of sentences each, in an order that the seed decides.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

PAD, BOS, EOS = 0, 1, 2
Pair = tuple[list[int], list[int]]
TokenBatch = tuple[Tensor, Tensor]
"""Source (B, S) that ends with EOS, and target (B, T + 1) from BOS to EOS; padded on the right."""


@dataclass(frozen=True)
class Task:
    """Data for the model, training and decoding levels."""

    name: str
    vocab_size: int
    pairs: Sequence[Pair]
    """Training pairs, as ids without special tokens."""
    held_out: Sequence[Pair]
    """Pairs for decoding."""
    show: Callable[[list[int]], str]
    """Ids as text, for findings."""

    def batches(self, count: int, size: int, seed: int) -> list[TokenBatch]:
        """Draw `count` batches of `size` pairs without replacement; anew when all were seen."""
        rng = random.Random(seed)
        order: list[int] = []
        result = []
        for _ in range(count):
            if len(order) < size:
                order = rng.sample(range(len(self.pairs)), len(self.pairs))
            chosen, order = order[:size], order[size:]
            result.append(collate([self.pairs[i] for i in chosen]))
        return result


def collate(pairs: Sequence[Pair]) -> TokenBatch:
    """Pad pairs to a batch."""
    sources = [torch.tensor([*src, EOS]) for src, _ in pairs]
    targets = [torch.tensor([BOS, *tgt, EOS]) for _, tgt in pairs]
    pad = torch.nn.utils.rnn.pad_sequence
    return (
        pad(sources, batch_first=True, padding_value=PAD),
        pad(targets, batch_first=True, padding_value=PAD),
    )


def letters_task(seed: int, size: int = 512, alphabet: int = 23) -> Task:
    """Random words to be written backwards: needs nothing but this file."""
    rng = random.Random(seed)
    letters = range(3, 3 + alphabet)

    def pair() -> Pair:
        word = rng.choices(letters, k=rng.randint(2, 11))
        return word, word[::-1]

    def show(ids: list[int]) -> str:
        return "".join(chr(ord("a") + i - 3) for i in ids if i >= 3)

    pairs = [pair() for _ in range(size + 32)]
    return Task("letters", 3 + alphabet, pairs[:size], pairs[size:], show)


def scenes_task(seed: int, size: int = 2_000, vocab_size: int = 1_000) -> Task:
    """Sentence pairs of the embedded corpus, cut into word pieces."""
    from minitf.config.schema import ScenesConfig, TokenizerConfig
    from minitf.data import load_data
    from minitf.tokenizer import train_tokenizer

    config = ScenesConfig(
        train_size=size, val_size=64, test_size=64, compositional_size=64, seed=seed
    )
    splits = load_data(config)
    tokenizer = train_tokenizer(
        [*splits["train"]["src"], *splits["train"]["tgt"]], TokenizerConfig(vocab_size=vocab_size)
    )
    return text_task("scenes", splits, tokenizer)


def text_task(name: str, splits: Any, tokenizer: Any, limit: int = 5_000) -> Task:
    """A task from loaded data (`minitf.data.load_data`) and its tokenizer."""

    def pairs(split: str, count: int) -> list[Pair]:
        rows = splits[split].select(range(min(count, len(splits[split]))))
        src, tgt = (tokenizer.encode_batch(list(rows[side])) for side in ("src", "tgt"))
        return list(zip(src, tgt, strict=True))

    return Task(
        name, tokenizer.vocab_size, pairs("train", limit), pairs("val", 64), tokenizer.decode
    )
