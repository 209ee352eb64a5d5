"""One batch of sentence pairs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass  # not frozen: Lightning copies its batches for some precisions
class Batch:
    """Pairs of like lengths, padded on the right.

    The counts are plain integers that were known before the tensors were made: reading them never
    waits for a device.
    """

    src: Tensor
    """(B, S) int64: tokens, EOS, padding."""
    tgt: Tensor
    """(B, T + 1) int64: BOS, tokens, EOS, padding."""
    indices: list[int]
    """Rows of the data set that the pairs come from."""
    num_source_tokens: int
    """Source positions that are not padding, EOS counted."""
    num_target_tokens: int
    """Positions of `tgt_out` that are not padding, EOS counted: what a loss is divided by."""

    @property
    def tgt_in(self) -> Tensor:
        """(B, T) int64: what the decoder reads, from BOS on."""
        return self.tgt[:, :-1]

    @property
    def tgt_out(self) -> Tensor:
        """(B, T) int64: what it should predict, to EOS."""
        return self.tgt[:, 1:]

    @property
    def num_positions(self) -> int:
        """Source and target positions that are computed, padding counted."""
        return self.src.numel() + self.tgt_in.numel()

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Batch:
        """The batch on a device; itself if it is there."""
        return replace(
            self,
            src=self.src.to(device, non_blocking=non_blocking),
            tgt=self.tgt.to(device, non_blocking=non_blocking),
        )

    def pin_memory(self, device: torch.device | str | None = None) -> Batch:
        """The batch in page-locked memory, from which copies to a device need no waiting."""
        return replace(self, src=self.src.pin_memory(), tgt=self.tgt.pin_memory())
