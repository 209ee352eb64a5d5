"""Encoding and assembling: every token in its place, on every device, without waiting."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset

from minitf.batching import Batch, EncodedPairs, encode_pairs
from minitf.config.errors import UserError
from minitf.config.schema import BatchingConfig, LongPairs, TokenizerConfig, TokenizerKind
from minitf.tokenizer import TextTokenizer, train_tokenizer

SRC = ["abc", "de", "abcdefg"]
TGT = ["g", "fed", "cb"]


@pytest.fixture(scope="module")
def tokenizer() -> TextTokenizer:
    return train_tokenizer(
        ["abcdefg"], TokenizerConfig(name=TokenizerKind.char, vocab_size=99, min_frequency=1)
    )


def encoded(tokenizer: TextTokenizer, **options: Any) -> EncodedPairs:
    data = Dataset.from_dict({"src": SRC, "tgt": TGT})
    return encode_pairs(data, tokenizer, BatchingConfig(**options), split="train")


def test_a_batch_by_hand(tokenizer: TextTokenizer) -> None:
    a, b, c, d, e, f, g = tokenizer.encode("abcdefg")
    batch = encoded(tokenizer).batch([1, 0])
    assert batch.src.tolist() == [[d, e, 2, 0], [a, b, c, 2]]
    assert batch.tgt.tolist() == [[1, f, e, d, 2], [1, g, 2, 0, 0]]
    assert batch.tgt_in.tolist() == [[1, f, e, d], [1, g, 2, 0]]
    assert batch.tgt_out.tolist() == [[f, e, d, 2], [g, 2, 0, 0]]
    assert batch.src.dtype == batch.tgt.dtype == torch.int64
    assert (batch.num_source_tokens, batch.num_target_tokens) == (3 + 4, 4 + 2)
    assert batch.num_positions == 16
    assert batch.indices == [1, 0]


def test_lengths_count_the_end(tokenizer: TextTokenizer) -> None:
    pairs = encoded(tokenizer)
    assert pairs.src_lengths.tolist() == [4, 3, 8]
    assert pairs.tgt_lengths.tolist() == [2, 4, 3]
    assert len(pairs) == 3


@pytest.mark.parametrize("seed", range(3))
def test_assembly_equals_a_loop_over_tokens(
    make_pairs: Callable[..., EncodedPairs], seed: int
) -> None:
    pairs = make_pairs(53, seed)
    rows = np.random.default_rng(seed).permutation(53)[:17]
    batch = pairs.batch(rows)
    assert_same(batch, by_hand(pairs, rows.tolist()))


def by_hand(pairs: EncodedPairs, rows: list[int]) -> Batch:
    """Assemble one token at a time."""

    def pad(side: Any) -> torch.Tensor:
        texts = []
        for row in rows:
            start, length = int(side.starts[row]), int(side.lengths[row])
            texts.append([int(side.tokens[start + k]) for k in range(length)])
        longest = max(map(len, texts))
        return torch.tensor([text + [0] * (longest - len(text)) for text in texts])

    src, tgt = pad(pairs.src), pad(pairs.tgt)
    return Batch(src, tgt, rows, int((src != 0).sum()), int((tgt[:, 1:] != 0).sum()))


def assert_same(one: Batch, other: Batch) -> None:
    assert torch.equal(one.src.cpu(), other.src)
    assert torch.equal(one.tgt.cpu(), other.tgt)
    assert one.indices == other.indices
    assert one.num_source_tokens == other.num_source_tokens
    assert one.num_target_tokens == other.num_target_tokens


def test_long_pairs_are_refused_by_name(tokenizer: TextTokenizer) -> None:
    with pytest.raises(UserError) as caught:
        encoded(tokenizer, max_length=4)
    assert str(caught.value) == (
        "train, pair 3: the source has 8 tokens, more than batching.max_length=4 (1 such pair); "
        "raise it, or set batching.long_pairs=skip or truncate"
    )
    with pytest.raises(UserError, match=r"^train, pair 1: the source has 4 .* \(3 such pairs\)"):
        encoded(tokenizer, max_length=3)


def test_a_pair_as_long_as_allowed_is_kept(tokenizer: TextTokenizer) -> None:
    pairs = encoded(tokenizer, max_length=8)
    assert (pairs.num_skipped, pairs.num_truncated) == (0, 0)


def test_long_pairs_can_be_skipped_and_are_counted(tokenizer: TextTokenizer) -> None:
    pairs = encoded(tokenizer, max_length=4, long_pairs=LongPairs.skip)
    assert pairs.rows.tolist() == [0, 1]
    assert (pairs.num_skipped, pairs.num_truncated) == (1, 0)


def test_skipping_all_is_refused(tokenizer: TextTokenizer) -> None:
    with pytest.raises(UserError) as caught:
        encoded(tokenizer, max_length=3, long_pairs=LongPairs.skip)
    assert str(caught.value) == "train: no pair is left of 3; batching.max_length=3"


def test_long_pairs_can_be_cut_and_are_counted(tokenizer: TextTokenizer) -> None:
    a, b, c, *_ = tokenizer.encode("abc")
    pairs = encoded(tokenizer, max_length=4, long_pairs=LongPairs.truncate)
    assert pairs.batch([2]).src.tolist() == [[a, b, c, 2]]
    assert pairs.batch([2]).tgt.tolist() == [[1, c, b, 2]]
    assert (pairs.num_skipped, pairs.num_truncated) == (0, 1)


def test_a_length_that_leaves_no_room_is_refused(tokenizer: TextTokenizer) -> None:
    with pytest.raises(UserError, match=r"^batching\.max_length must be at least 2 .*, got 1$"):
        encoded(tokenizer, max_length=1)


def test_indices_are_rows_of_the_data_set_after_skipping(tokenizer: TextTokenizer) -> None:
    data = Dataset.from_dict({"src": ["abcdefg", "a", "b"], "tgt": ["a", "b", "c"]})
    config = BatchingConfig(max_length=4, long_pairs=LongPairs.skip)
    assert encode_pairs(data, tokenizer, config).batch([0, 1]).indices == [1, 2]


@pytest.mark.gpu
def test_batches_on_a_device_are_those_of_the_host(
    make_pairs: Callable[..., EncodedPairs],
) -> None:
    pairs = make_pairs(503)
    resident = pairs.to("cuda")
    for start in range(0, 503, 59):
        rows = list(range(start, min(start + 59, 503)))
        assert_same(resident.batch(rows), pairs.batch(rows))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_assembly_on_a_device_never_waits_for_it(make_pairs: Callable[..., EncodedPairs]) -> None:
    resident = make_pairs(503).to("cuda")
    resident.batch(range(59))
    torch.cuda.set_sync_debug_mode("error")
    try:
        batch = resident.batch(range(59, 131))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert batch.src.device.type == "cuda"


def test_kept_pairs_are_the_encoded_ones(
    tokenizer: TextTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Dataset.from_dict({"src": SRC, "tgt": TGT})
    config = BatchingConfig(max_length=4, long_pairs=LongPairs.truncate)
    made = encode_pairs(data, tokenizer, config)
    first = encode_pairs(data, tokenizer, config, cache_dir=tmp_path)
    other = encode_pairs(data, tokenizer, BatchingConfig(), cache_dir=tmp_path)
    assert (made.num_truncated, other.num_truncated) == (1, 0)
    monkeypatch.setattr("minitf.batching.pairs._encode", None)  # may not be called any more
    again = encode_pairs(data, tokenizer, config, cache_dir=tmp_path)
    for pairs in (first, again):
        assert (pairs.num_skipped, pairs.num_truncated) == (made.num_skipped, made.num_truncated)
        assert pairs.rows.tolist() == made.rows.tolist()
        for found, wanted in ((pairs.src, made.src), (pairs.tgt, made.tgt)):
            assert torch.equal(found.tokens, wanted.tokens)
            assert found.host_lengths.tolist() == wanted.host_lengths.tolist()


def test_a_full_disk_costs_the_cache_alone(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    data = Dataset.from_dict({"src": SRC * 500, "tgt": TGT * 500})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))  # a larger file cannot be written
    try:
        pairs = encode_pairs(data, tokenizer, BatchingConfig(), cache_dir=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert len(pairs) == 1500
    assert list(tmp_path.iterdir()) == []
