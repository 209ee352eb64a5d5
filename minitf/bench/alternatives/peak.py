"""Not a library: how many operations a second the hardware does in one large matrix product."""

import torch

from minitf.bench.hardware import measured_peak
from minitf.bench.rounds import Rounds


def run(rounds: Rounds, size: int, precision: str) -> None:
    """A worker's function: on the CPU, size³ products for a fifth of a second a library."""
    rounds.ready()
    while rounds.wait() is not None:
        rounds.report(flops=measured_peak(size, getattr(torch, precision), 0.2))
