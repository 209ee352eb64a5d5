"""The LightningDataModule: batches for training and validation, and the position in them."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import DatasetDict
from lightning.pytorch import LightningDataModule

from minitf.batching import (
    BatchSampler,
    DropoutPairs,
    EncodedPairs,
    ResumableLoader,
    check_budget,
    encode_pairs,
)
from minitf.config import UserError
from minitf.config.schema import BatchingConfig
from minitf.tokenizer import TextTokenizer


class TranslationData(LightningDataModule):
    """Encodes the splits once and serves them in batches of like lengths.

    The position in the training data is saved with every checkpoint. Lightning restores a data
    module before it builds loaders, so that a resumed run continues with the very next batch.

    Args:
        config: batch size, lengths, workers, and whether the data lives on the device.
        splits: `train` and `val` are read.
        tokenizer: the run's.
        seed: of the order of batches, and of BPE dropout.
        bpe_dropout: probability of leaving out a merge, in training; above 0 the trainer must
            build a loader for each epoch (`reload_dataloaders_every_n_epochs=1`).
        cache_dir: where encoded pairs are kept; None: nowhere.
        fixed_shapes: pad each batch as if it held its buckets' longest pairs, so that there are no
            more shapes than batches in an epoch.
    """

    def __init__(
        self,
        config: BatchingConfig,
        splits: DatasetDict,
        tokenizer: TextTokenizer,
        seed: int,
        bpe_dropout: float = 0.0,
        cache_dir: Path | None = None,
        *,
        fixed_shapes: bool = False,
    ) -> None:
        super().__init__()
        self._fixed_shapes = fixed_shapes
        self._config = config
        self._seed = seed
        self._dropout: DropoutPairs | None = None
        train = splits["train"]
        if config.limit_pairs is not None:
            if config.limit_pairs < 1:
                raise UserError(
                    f"batching.limit_pairs must be at least 1; got {config.limit_pairs}"
                )
            train = train.select(range(min(config.limit_pairs, len(train))))
        if bpe_dropout:
            self._dropout = DropoutPairs(
                train, tokenizer, config, bpe_dropout, seed=seed, split="train"
            )
            self._train = self._dropout.without_dropout
        else:
            self._train = encode_pairs(train, tokenizer, config, split="train", cache_dir=cache_dir)
        self._val = encode_pairs(splits["val"], tokenizer, config, split="val", cache_dir=cache_dir)
        for name, pairs in (("train", self._train), ("val", self._val)):
            names = partial(_place, name, pairs)
            check_budget(pairs.src_lengths, pairs.tgt_lengths, config.tokens, names)
        self._train_loader: ResumableLoader | None = None
        self._position: dict[str, int] | None = None

    @property
    def pairs(self) -> tuple[EncodedPairs, EncodedPairs]:
        """Those that are trained on, and those of validation."""
        return self._train, self._val

    @property
    def longest(self) -> int:
        """Positions that the longest training sentence takes."""
        return int(max(self._train.src_lengths.max(), self._train.tgt_lengths.max()))

    def train_dataloader(self) -> ResumableLoader:
        """Shuffled batches; each data-parallel rank gets its own, equally many."""
        if self._train_loader is not None:
            self._position = self._train_loader.state_dict()
        position = self._position or {"epoch": 0, "n": 0}
        self._train_loader = self._epoch_loader(position["epoch"])
        begun = self.trainer.current_epoch if self.trainer else 0  # limit_train_batches cuts epochs
        over = position["n"] >= len(self._train_loader) or begun > position["epoch"]
        if self._dropout is not None and over:
            position = {"epoch": max(position["epoch"] + 1, begun), "n": 0}
            self._train_loader = self._epoch_loader(position["epoch"])
        self._train_loader.load_state_dict(position)
        return self._train_loader

    def _epoch_loader(self, epoch: int) -> ResumableLoader:
        pairs = self._train if self._dropout is None else self._dropout.at_epoch(epoch)
        return self._loader(self._on_device(pairs), shuffle=True)

    def val_dataloader(self) -> ResumableLoader:
        """All of `val` on every rank, so that the loss is exact and the same everywhere."""
        return self._loader(self._on_device(self._val), shuffle=False)

    @property
    def _device(self) -> torch.device:
        return self.trainer.strategy.root_device if self.trainer else torch.device("cpu")

    def _on_device(self, pairs: EncodedPairs) -> EncodedPairs:
        resident = self._config.on_device and self._config.num_workers == 0
        return pairs.to(self._device) if resident else pairs

    def _loader(self, pairs: EncodedPairs, *, shuffle: bool) -> ResumableLoader:
        ranks = self.trainer if shuffle else None
        sampler = BatchSampler(
            pairs.src_lengths,
            pairs.tgt_lengths,
            tokens=self._config.tokens,
            sentences=self._config.sentences,
            seed=self._seed,
            shuffle=shuffle,
            rank=ranks.global_rank if ranks else 0,
            world_size=ranks.world_size if ranks else 1,
        )
        if shuffle and self._fixed_shapes:
            pairs = replace(pairs, padded_lengths=sampler.padded_lengths)
        return ResumableLoader(
            pairs,
            sampler,
            num_workers=self._config.num_workers if shuffle else 0,
            pin_memory=self._device.type == "cuda",
            from_start=not shuffle,
        )

    def state_dict(self) -> dict[str, Any]:
        """The epoch, and how many of its batches were handed out."""
        return {} if self._train_loader is None else self._train_loader.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue there; called before the loader exists."""
        self._position = {"epoch": state_dict["epoch"], "n": state_dict["n"]}


def _place(split: str, pairs: EncodedPairs, number: int) -> str:
    return f"{split}, pair {pairs.rows[number] + 1}"
