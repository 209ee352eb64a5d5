"""When to look which sentences are finished, and which of them leave the batch.

A look makes the host wait for the device; leaving copies the caches. Neither changes a result: a
finished sentence that stays is computed on and ignored.
"""

import torch
from torch import Tensor

CHECK_EVERY = 8
"""Steps between two looks on an accelerator; a CPU has nothing to wait for and looks each time."""
LEAVE_SHARE = 0.1
"""Finished sentences leave together once they are this share of the batch."""


def finished_sentences(done: Tensor, step: int, last: bool) -> list[bool] | None:
    """Which sentences to take out now; None: go on with all.

    Args:
        done: (B,) sentences that are finished.
        step: number of the step that was just taken, from 0.
        last: whether it was the last one that any sentence may take.
    """
    if last:
        return [True] * done.size(0)
    if done.device.type != "cpu" and (step + 1) % CHECK_EVERY:
        return None
    ended: list[bool] = done.tolist()
    if sum(ended) < max(1.0, LEAVE_SHARE * len(ended)):
        return None
    return ended


def split(ended: list[bool], device: torch.device) -> tuple[list[int], Tensor, list[int], Tensor]:
    """Numbers of the sentences that leave and of those that stay, each also on the device."""
    leaving = [i for i, end in enumerate(ended) if end]
    staying = [i for i, end in enumerate(ended) if not end]
    return (
        leaving,
        torch.tensor(leaving, device=device, dtype=torch.long),
        staying,
        torch.tensor(staying, device=device, dtype=torch.long),
    )
