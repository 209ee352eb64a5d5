"""Padding: the share of the positions that training computes for nothing, by way of batching."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from minitf.batching import BatchSampler, encode_pairs
from minitf.batching.sampler import cut_by_tokens
from minitf.bench.rows import Findings, Row, with_ratios
from minitf.bench.training import compose_settings
from minitf.config import UserError
from minitf.data import load_data
from minitf.tokenizer import train_tokenizer

Array = npt.NDArray[np.int64]

BUDGETS = (2_048, 4_096, 8_192)
"""Source and target positions of a batch, padding counted, where no `batching.tokens` is given."""

POOL = 100
"""Batches that are sorted together, as fairseq and JoeyNMT do."""


def run(quick: bool, overrides: Sequence[str] = ()) -> Findings:
    """Measure the training split of the data given; the same on every machine.

    Args:
        quick: two epochs of each instead of five.
        overrides: as for `python train.py`.

    Raises:
        UserError: an override that does not fit, or a pair longer than the smallest budget.
    """
    settings = compose_settings(overrides)
    budgets: Sequence[int] = BUDGETS
    if any(override.startswith("batching.tokens=") for override in overrides):
        if settings.batching.tokens is None:
            raise UserError("bench padding: batches have a token budget; leave out batching.tokens")
        budgets = [settings.batching.tokens]
    train = load_data(settings.data)["train"]
    tokenizer = train_tokenizer([*train["src"], *train["tgt"]], settings.tokenizer)
    pairs = encode_pairs(train, tokenizer, settings.batching, split="train")
    src, tgt = pairs.src_lengths, pairs.tgt_lengths
    rows: list[Row] = []
    for budget in budgets:
        rows += of_budget(src, tgt, budget, epochs=2 if quick else 5, seed=settings.seed)
    remark = (
        f"{len(pairs):,} pairs of {settings.data.name}, vocabulary {tokenizer.vocab_size:,}; "
        "padding is the share of source and target positions that hold no token"
    )
    return Findings(rows, [], [remark])


def of_budget(src: Array, tgt: Array, budget: int, *, epochs: int, seed: int) -> list[Row]:
    """The rows of one budget: minitf, pools, fixed-size batches.

    Args:
        src: (N,) source positions of each pair.
        tgt: (N,) target positions.
        budget: source and target positions of a batch.
        epochs: over how many to take the median.
        seed: of all shuffles.
    """
    if (longest := int((src + tgt).max())) > budget:
        raise UserError(
            f"bench padding: a pair has {longest} tokens, more than batches of {budget}; "
            "set batching.max_length lower, with batching.long_pairs=skip"
        )
    sampler = BatchSampler(src, tgt, tokens=budget, seed=seed)
    orders = [np.random.default_rng([seed, epoch]).permutation(len(src)) for epoch in range(epochs)]
    ways = {
        "minitf": [sampler.batches(epoch) for epoch in range(epochs)],
        f"sorted within pools of {POOL} batches": [pools(o, src, tgt, budget) for o in orders],
        "shuffled, fixed number of sentences": [fixed(o, src, tgt, budget) for o in orders],
    }
    return with_ratios(
        Row(
            f"padding/{budget}",
            name,
            100 * float(np.median([padding(batches, src, tgt) for batches in of_epochs])),
            "%",
        )
        for name, of_epochs in ways.items()
    )


def padding(batches: Iterable[Array], src: Array, tgt: Array) -> float:
    """Share of the computed positions that is padding.

    Two pairs of 1 + 2 and 3 + 2 tokens: sources are padded to 3, and two
    of ten positions are padding.

    >>> padding([np.array([0, 1])], np.array([1, 3]), np.array([2, 2]))
    0.2
    """
    computed = tokens = 0
    for batch in batches:
        computed += len(batch) * int(src[batch].max() + tgt[batch].max())
        tokens += int(src[batch].sum() + tgt[batch].sum())
    return (computed - tokens) / computed


def fixed(order: Array, src: Array, tgt: Array, budget: int) -> list[Array]:
    """Shuffled pairs, so many a batch that its tokens, without padding, fill the budget."""
    size = max(1, round(budget / float((src + tgt).mean())))
    return np.split(order, range(size, len(order), size))


def pools(order: Array, src: Array, tgt: Array, budget: int) -> list[Array]:
    """Shuffled pairs; so many as make POOL batches are sorted by length and cut by the budget."""
    size = POOL * max(1, round(budget / float((src + tgt).mean())))
    batches: list[Array] = []
    for start in range(0, len(order), size):
        pool = order[start : start + size]
        pool = pool[np.lexsort((tgt[pool], src[pool]))]
        batches += np.split(pool, cut_by_tokens(src[pool], tgt[pool], budget)[1:])
    return batches
