"""Dropout with sixteen random bits for an element.

On a CPU `torch.nn.functional.dropout` draws a double for every element, from one thread: an eighth
of a small model's training step. Here a 64-bit draw serves four elements, ten times as fast.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

_LEVELS = 2**16


def dropout(x: Tensor, p: float) -> Tensor:
    """Zero each element with probability p and scale the rest by 1 / (1 - p), in training.

    Srivastava et al. 2014, in the inverted form. On a CPU p is rounded to a multiple of 2^-16, in
    the probability and in the scale alike, so that the expectation stays x; elsewhere, and in a
    compiled graph, this is torch's own function.

    Args:
        x: any shape.
        p: from 0 to 1.
    """
    dropped = round(p * _LEVELS)
    if x.device.type != "cpu" or not 0 < dropped < _LEVELS or torch.compiler.is_compiling():
        return F.dropout(x, p)
    return x * _factors(x, dropped)


def _factors(x: Tensor, dropped: int) -> Tensor:
    """0 in `dropped` of 2^16 cases, else the scale; in the order of x's elements, not its memory's.

    Drawn from torch's default random state.
    """
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    kept = bits >= dropped - _LEVELS // 2
    return kept.to(x.dtype).mul_(_LEVELS / (_LEVELS - dropped))
