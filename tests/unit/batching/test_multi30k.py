"""Padding on real data: Multi30k's training pairs in batches of 4,096 tokens."""

import os
from itertools import pairwise
from pathlib import Path

import pytest

from minitf.batching import BatchSampler, DropoutPairs, EncodedPairs, encode_pairs
from minitf.config.schema import BatchingConfig, TextFilesConfig, TokenizerConfig
from minitf.data import load_data
from minitf.tokenizer import train_tokenizer

ROOT = Path(
    os.environ.get("MINITF_MULTI30K", Path(__file__).parents[4] / "shared" / "data" / "multi30k")
)
pytestmark = pytest.mark.skipif(
    not (ROOT / "train.en").is_file(),
    reason=f"Multi30k is not at {ROOT}; MINITF_MULTI30K says where it is",
)


def batches(pairs: EncodedPairs, epoch: int = 0) -> list[list[int]]:
    sampler = BatchSampler(pairs.src_lengths, pairs.tgt_lengths, tokens=4_096, seed=1)
    return [batch.tolist() for batch in sampler.batches(epoch)]


def padding(pairs: EncodedPairs, chosen: list[list[int]]) -> float:
    made = [pairs.batch(batch) for batch in chosen]
    assert max(batch.num_positions for batch in made) <= 4_096
    tokens = sum(batch.num_source_tokens + batch.num_target_tokens for batch in made)
    return 1 - tokens / sum(batch.num_positions for batch in made)


@pytest.mark.parametrize(
    ("folder", "vocab_size"), [("tok", 10_000), pytest.param(".", 8_000, marks=pytest.mark.slow)]
)
def test_at_most_a_twentieth_is_padding_and_companions_change(folder: str, vocab_size: int) -> None:
    data = load_data(TextFilesConfig(root=str(ROOT / folder), tests=[]))["train"]
    columns = data[:]
    tokenizer = train_tokenizer(
        [*columns["src"], *columns["tgt"]], TokenizerConfig(vocab_size=vocab_size)
    )
    assert tokenizer.vocab_size == vocab_size
    pairs = encode_pairs(data, tokenizer, BatchingConfig(), split="train")
    before, after = batches(pairs, 0), batches(pairs, 1)
    assert padding(pairs, before) < 0.045
    assert len(before) == len(after)
    place = {row: number for number, batch in enumerate(after) for row in batch}
    same = [place[a] == place[b] for batch in before for a, b in pairwise(batch)]
    assert sum(same) < 0.35 * len(same)


@pytest.mark.slow
def test_padding_under_bpe_dropout() -> None:
    data = load_data(TextFilesConfig(root=str(ROOT / "tok"), tests=[]))["train"]
    columns = data[:]
    tokenizer = train_tokenizer(
        [*columns["src"], *columns["tgt"]], TokenizerConfig(vocab_size=10_000)
    )
    pairs = DropoutPairs(data, tokenizer, BatchingConfig(), 0.1, seed=1).at_epoch(2)
    assert padding(pairs, batches(pairs)) < 0.05
    rows = [0, 17, 28_999]
    assert tokenizer.decode_batch(pairs.batch(rows).tgt.tolist()) == [
        columns["tgt"][row] for row in rows
    ]
