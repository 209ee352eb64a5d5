"""The data module continues with the very next batch, with BPE dropout too."""

from typing import Any

import pytest
from datasets import Dataset, DatasetDict

from minitf.batching import Batch
from minitf.config import UserError
from minitf.config.schema import BatchingConfig, LongPairs, TokenizerConfig
from minitf.tokenizer import TextTokenizer, train_tokenizer
from minitf.training.data import TranslationData

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "theta"]


@pytest.fixture(scope="module")
def splits() -> DatasetDict:
    texts = [" ".join(WORDS[(i * k) % 7] for k in range(1, 2 + i % 5)) for i in range(101)]
    split = Dataset.from_dict({"src": texts, "tgt": texts[::-1]})
    return DatasetDict(train=split, val=split.select(range(11)))


@pytest.fixture(scope="module")
def tokenizer(splits: DatasetDict) -> TextTokenizer:
    return train_tokenizer(list(splits["train"]["src"]), TokenizerConfig(vocab_size=300))


def _data(splits: DatasetDict, tokenizer: TextTokenizer, dropout: float) -> TranslationData:
    return TranslationData(BatchingConfig(tokens=150), splits, tokenizer, 5, dropout)


def _epoch(data: TranslationData) -> list[Batch]:
    return list(data.train_dataloader())  # as Lightning does with a loader for each epoch


def _ids(batches: list[Batch]) -> list[Any]:
    return [(b.indices, b.src.tolist(), b.tgt.tolist()) for b in batches]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_a_restored_position_gives_the_batches_that_were_left(
    splits: DatasetDict, tokenizer: TextTokenizer, dropout: float
) -> None:
    whole = _data(splits, tokenizer, dropout)
    epochs = [_ids(_epoch(whole)) for _ in range(4)]
    assert epochs[0] != epochs[1] != epochs[2]
    for epoch, n in ((0, 2), (1, 1), (1, len(epochs[1]))):
        resumed = _data(splits, tokenizer, dropout)
        resumed.load_state_dict({"epoch": epoch, "n": n})
        present = epoch if n < len(epochs[epoch]) else epoch + 1
        assert _ids(_epoch(resumed)) == (epochs[epoch][n:] or epochs[present])
        assert resumed.state_dict()["epoch"] == present
        assert _ids(_epoch(resumed)) == epochs[present + 1]


def test_every_pair_comes_once_an_epoch(splits: DatasetDict, tokenizer: TextTokenizer) -> None:
    for dropout in (0.0, 0.3):
        rows = [row for batch in _epoch(_data(splits, tokenizer, dropout)) for row in batch.indices]
        assert sorted(rows) == list(range(101))


def test_dropout_cuts_words_anew_and_spells_the_same_text(
    splits: DatasetDict, tokenizer: TextTokenizer
) -> None:
    data = _data(splits, tokenizer, 0.3)
    first, second = (
        {row: ids for b in _epoch(data) for row, ids in zip(b.indices, b.src.tolist(), strict=True)}
        for _ in range(2)
    )
    sources = splits["train"]["src"]
    assert all(tokenizer.decode(ids) == sources[row] for row, ids in first.items())
    assert sum(first[row] != second[row] for row in first) > 50


def test_a_pair_that_fits_no_batch_is_named_by_its_place_in_the_split(
    tokenizer: TextTokenizer,
) -> None:
    texts = ["alpha " * 40, "beta", "gamma " * 9]
    split = Dataset.from_dict({"src": texts, "tgt": texts})
    config = BatchingConfig(tokens=15, max_length=20, long_pairs=LongPairs.skip)
    with pytest.raises(UserError, match=r"^train, pair 3 has 11 source and 11 target tokens"):
        TranslationData(config, DatasetDict(train=split, val=split), tokenizer, 5)


def test_few_pairs_can_be_chosen(splits: DatasetDict, tokenizer: TextTokenizer) -> None:
    config = BatchingConfig(tokens=150, limit_pairs=7)
    data = TranslationData(config, splits, tokenizer, 5)
    assert sorted(r for b in _epoch(data) for r in b.indices) == list(range(7))
    with pytest.raises(UserError, match=r"batching\.limit_pairs must be at least 1; got 0"):
        TranslationData(BatchingConfig(limit_pairs=0), splits, tokenizer, 5)


def test_fixed_shapes_are_those_of_every_epoch(
    splits: DatasetDict, tokenizer: TextTokenizer
) -> None:
    config = BatchingConfig(tokens=150)
    whole = TranslationData(config, splits, tokenizer, 5, fixed_shapes=True)
    usual = TranslationData(config, splits, tokenizer, 5)
    shapes, others = (
        [[(b.src.shape, b.tgt.shape) for b in _epoch(data)] for _ in range(9)]
        for data in (whole, usual)
    )
    assert all(sorted(epoch) == sorted(shapes[0]) for epoch in shapes)
    assert not all(sorted(epoch) == sorted(others[0]) for epoch in others)
    fixed, free = (
        TranslationData(config, splits, tokenizer, 5, fixed_shapes=f) for f in (True, False)
    )
    for a, b in zip(_epoch(fixed), _epoch(free), strict=True):
        assert a.indices == b.indices
        assert (a.num_source_tokens, a.num_target_tokens) == (
            b.num_source_tokens,
            b.num_target_tokens,
        )
        assert (a.src[:, : b.src.size(1)] == b.src).all()
        assert (a.tgt[:, b.tgt.size(1) :] == tokenizer.pad_id).all()
        assert a.num_positions <= 150
