"""Not a library: how many operations a second the hardware does in one large matrix product."""

import time

import torch

from minitf.bench.rounds import Rounds


def run(rounds: Rounds, size: int, precision: str) -> None:
    """A worker's function: on the CPU, size³ products, as many as fit in a fifth of a second."""
    dtype = getattr(torch, precision)
    left, right = torch.randn(2, size, size).to(dtype).unbind()
    out = torch.empty_like(left)
    rounds.ready()
    while rounds.wait() is not None:
        start, products = time.perf_counter(), 0
        while time.perf_counter() - start < 0.2:
            torch.mm(left, right, out=out)
            products += 1
        seconds = time.perf_counter() - start
        rounds.report(flops=products * 2 * size**3 / seconds)
