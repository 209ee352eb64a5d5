"""Encoded pairs without a tokenizer."""

from collections.abc import Callable

import numpy as np
import pytest

from minitf.batching.pairs import EncodedPairs, FlatSequences

PAD, BOS, EOS = 0, 1, 2


@pytest.fixture(scope="session")
def make_pairs() -> Callable[..., EncodedPairs]:
    """`make_pairs(number, seed)`: pairs of random lengths from 1 to 29 whose tokens are random."""

    def make(number: int, seed: int = 0, longest: int = 29) -> EncodedPairs:
        generator = np.random.default_rng(seed)
        src, tgt = [], []
        for _ in range(number):
            length = int(generator.integers(0, longest))
            other = int(np.clip(length + generator.integers(-4, 5), 0, longest - 1))
            src.append([*generator.integers(4, 97, length).tolist(), EOS])
            tgt.append([BOS, *generator.integers(4, 97, other).tolist(), EOS])
        return EncodedPairs(
            FlatSequences.build(src, PAD), FlatSequences.build(tgt, PAD), np.arange(number)
        )

    return make
