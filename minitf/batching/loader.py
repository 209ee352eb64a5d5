"""A DataLoader that knows, and continues from, its exact position."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from minitf.batching.batch import Batch
from minitf.batching.pairs import EncodedPairs
from minitf.batching.sampler import BatchSampler


class ResumableLoader(DataLoader[Batch]):
    """Batches of one epoch per iteration; the next iteration is the next epoch.

    Its position is the epoch and the number of batches that it has handed out, whatever its
    workers have prefetched. An iteration that was left early is continued by the next one, unless
    Lightning has announced a later epoch since, as it does under `limit_train_batches`.

    Args:
        pairs: the data; on a CUDA device only with `num_workers=0`.
        sampler: its batches.
        num_workers: processes that assemble batches.
        pin_memory: hand out batches in page-locked memory.
        from_start: every iteration is the first epoch's, from its beginning: for validation, which
            may leave off early and must measure the same batches each time.
    """

    def __init__(
        self,
        pairs: EncodedPairs,
        sampler: BatchSampler,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
        from_start: bool = False,
    ) -> None:
        self._from_start = from_start
        self._position = {"epoch": 0, "n": 0}
        super().__init__(
            pairs,
            batch_sampler=sampler,
            collate_fn=_whole,
            num_workers=num_workers,
            pin_memory=pin_memory and pairs.device.type == "cpu",
            # Its own, so that iterating draws nothing from the generator that dropout uses.
            generator=torch.Generator().manual_seed(0),
        )

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Yield the rest of the present epoch, or the next epoch where it is over."""
        if self._from_start:
            self._position = {"epoch": 0, "n": 0}
        position = self._position
        assert isinstance(self.batch_sampler, BatchSampler)
        announced = self.batch_sampler.announced
        if position["n"] >= len(self):
            position.update(epoch=position["epoch"] + 1, n=0)
        elif not self._from_start and announced is not None and announced > position["epoch"]:
            position.update(epoch=announced, n=0)
        self.batch_sampler.set_position(position["epoch"], position["n"])
        for batch in super().__iter__():
            position["n"] += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The position: `epoch`, and `n` batches of it handed out."""
        return dict(self._position)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a position; takes effect when an iteration next begins."""
        self._position = {"epoch": state["epoch"], "n": state["n"]}


def _whole(batch: Any) -> Any:
    """EncodedPairs hands out whole batches; nothing is left to collate."""
    return batch
