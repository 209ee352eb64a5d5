"""Pairs under BPE dropout: the same text and rows, another reading in each epoch."""

from typing import Any

import pytest
from datasets import Dataset

from minitf.batching import BatchSampler, DropoutPairs, encode_pairs
from minitf.config.schema import BatchingConfig, LongPairs, TokenizerConfig
from minitf.tokenizer import train_tokenizer

SRC = ["low lower lowest", "newer newest", "wide widest low", "slow", "lower slower"]
TGT = ["tief tiefer", "neuer neuester", "weit am weitesten", "langsam", "langsamer tiefer"]
DATA = Dataset.from_dict({"src": SRC, "tgt": TGT})
BPE = train_tokenizer([*SRC, *TGT] * 3, TokenizerConfig(vocab_size=330))


def made(probability: float = 0.4, **options: Any) -> DropoutPairs:
    return DropoutPairs(DATA, BPE, BatchingConfig(**options), probability, seed=3, split="train")


def test_each_epoch_reads_the_same_text() -> None:
    pairs = made()
    for epoch in range(4):
        batch = pairs.at_epoch(epoch).batch(range(5))
        assert BPE.decode_batch(batch.src.tolist()) == SRC
        assert BPE.decode_batch(batch.tgt.tolist()) == TGT
        assert (batch.tgt[:, 0] == BPE.bos_id).all()
        assert (batch.src == BPE.eos_id).sum(1).tolist() == [1] * 5
        assert batch.num_source_tokens == int((batch.src != BPE.pad_id).sum())


def test_epochs_are_pure_functions_of_the_seed_and_differ() -> None:
    one, other = made(), made()
    assert one.at_epoch(2).src.tokens.tolist() == other.at_epoch(2).src.tokens.tolist()
    assert one.at_epoch(2).src.tokens.tolist() != one.at_epoch(3).src.tokens.tolist()


def test_without_dropout_it_is_encode_pairs() -> None:
    plain, pairs = encode_pairs(DATA, BPE, BatchingConfig()), made(0.0).at_epoch(7)
    for rows in ([0, 1], [4, 2, 3]):
        one, other = plain.batch(rows), pairs.batch(rows)
        assert one.src.tolist() == other.src.tolist()
        assert one.tgt.tolist() == other.tgt.tolist()


def test_skipped_pairs_stay_out() -> None:
    longest = int(made().without_dropout.src_lengths.max())
    pairs = made(max_length=longest - 1, long_pairs=LongPairs.skip)
    kept = pairs.without_dropout.rows.tolist()
    assert 0 < len(kept) < 5
    for epoch in range(9):
        at_epoch = pairs.at_epoch(epoch)
        assert at_epoch.batch(range(len(kept))).indices == kept
        assert at_epoch.src_lengths.max() <= longest - 1
        assert at_epoch.tgt_lengths.max() <= longest - 1
        assert BPE.decode_batch(at_epoch.batch(range(len(kept))).src.tolist()) == [
            SRC[row] for row in kept
        ]


def test_truncated_pairs_stay_within_the_length() -> None:
    with pytest.raises(ValueError, match=r"^batching\.long_pairs=truncate .* dropout"):
        made(max_length=4, long_pairs=LongPairs.truncate)


def test_a_sampler_can_be_made_for_each_epoch() -> None:
    pairs = made().at_epoch(1)
    sampler = BatchSampler(pairs.src_lengths, pairs.tgt_lengths, tokens=60)
    assert sorted(n for batch in sampler for n in batch) == list(range(5))


def test_a_pair_beyond_the_budget_is_read_without_dropout() -> None:
    plain = made().without_dropout
    budget = int((plain.src_lengths + plain.tgt_lengths).max())
    free, bound = made(0.6), made(0.6, tokens=budget)
    restored = 0
    for epoch in range(6):
        drawn, kept = free.at_epoch(epoch), bound.at_epoch(epoch)
        for row in range(5):
            long = drawn.src_lengths[row] + drawn.tgt_lengths[row] > budget
            expected = (plain if long else drawn).batch([row])
            assert kept.batch([row]).src.tolist() == expected.src.tolist()
            assert kept.batch([row]).tgt.tolist() == expected.tgt.tolist()
            restored += long
        BatchSampler(kept.src_lengths, kept.tgt_lengths, tokens=budget, shuffle=False)
    assert restored > 0
