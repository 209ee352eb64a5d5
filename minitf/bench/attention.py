"""Attention alone, side by side with torch.nn.MultiheadAttention.

Each work is one shape and one way of use. Its implementations run interleaved, one call each per
round, so that a busy machine slows all alike; what counts is the ratio of medians.
"""

import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minitf.attention import MultiHeadAttention
from minitf.bench.hardware import cuda_peak, measured_peak
from minitf.bench.rows import Failure, Findings, Row, median_and_spread, with_ratios
from minitf.bench.worker import resident_peak

REFERENCE = "torch.nn.MultiheadAttention"

FORMULA = (
    "share of the peak: 2 FLOPs per weight of the four projections and token, and 4·E per query "
    "and key that it may see; three times as many in training. The peak is the fastest of a "
    "2,048³ matrix product in the same rounds (a GPU's is known by its name)"
)


@dataclass(frozen=True)
class Work:
    """What is measured: B sentences of T tokens, E wide, in H heads, with self-attention."""

    shape: tuple[int, int, int, int]
    """B, T, E, H."""
    training: bool = True
    """Forward and backward; else forward without gradients, in evaluation mode."""
    need_weights: bool = False
    dropout: float = 0.0
    causal: bool = False
    padded: bool = False
    """Mask the last quarter of every second sentence's keys."""
    dtype: str = "float32"

    def label(self, device: str) -> str:
        """Name the work, as in `attention/32x64x256x4/training/weights/float32/cpu`."""
        parts = ["attention", "x".join(map(str, self.shape))]
        parts.append("training" if self.training else "inference")
        flags = {
            "weights": self.need_weights,
            f"dropout={self.dropout}": self.dropout > 0,
            "causal": self.causal,
            "padded": self.padded,
        }
        parts += [name for name, on in flags.items() if on]
        return "/".join([*parts, self.dtype, device])

    @property
    def flops(self) -> float:
        """FLOPs of a call, as FORMULA counts them."""
        B, T, E, _ = self.shape
        keys = float(T)
        if self.causal:
            keys = (T + 1) / 2
        if self.padded:
            keys -= T // 4 * ((B + 1) // 2) / B
        forward = B * T * (2.0 * 4 * E * E + 4.0 * E * keys)
        return 3 * forward if self.training else forward


QUICK = (
    Work((32, 64, 256, 4)),
    Work((32, 64, 256, 4), need_weights=True),
    Work((32, 64, 256, 4), dropout=0.1),
    Work((32, 64, 256, 4), causal=True),
    Work((32, 64, 256, 4), padded=True),
    Work((8, 512, 512, 8)),
    Work((1, 2048, 512, 8), training=False),
)
"""About a minute on two cores."""

SMALL = ((1, 16, 64, 4), (8, 16, 128, 4))
"""Calls so short that starting their operations takes most of the time."""

FULL = (
    *QUICK,
    *(Work((max(1, 2048 // T), T, 256, 4)) for T in (16, 128, 1024, 4096)),
    *(Work((max(1, 2048 // T), T, 256, 4), need_weights=True) for T in (16, 128, 1024, 4096)),
    *(Work((32, 64, 256, 4), training=False, need_weights=w) for w in (False, True)),
    Work((32, 64, 256, 4), training=False, padded=True),
    *(Work(shape, training=False) for shape in SMALL),
    *(Work(shape, training=False, padded=True) for shape in SMALL),
    *(Work(shape, training=False, causal=True) for shape in SMALL),
    *(Work(shape, training=False, need_weights=True) for shape in SMALL),
    Work((32, 64, 256, 4), dtype="bfloat16"),
    Work((8, 512, 512, 8), need_weights=True),
    Work((8, 512, 512, 8), dropout=0.1),
    Work((8, 512, 512, 8), training=False),
    Work((1, 2048, 512, 8)),
    Work((1, 2048, 512, 8), dropout=0.1),
    Work((1, 2048, 512, 8), need_weights=True),
)


def run(quick: bool) -> Findings:
    """Measure this machine.

    Args:
        quick: fewer works and rounds.

    Returns:
        Rows of milliseconds per call, their ratio to torch's module in the same rounds and their
        share of the hardware's peak; in the full run also rows of peak memory in MiB.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    versions = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    found = Findings([], [], [versions, FORMULA])
    for work in QUICK if quick else FULL:
        found.rows.extend(measure_time(work, device, rounds=7 if quick else 15))
    if not quick:
        for T in (1024, 2048, 4096):
            for dropout in (0.0, 0.1):
                measure_memory(Work((1, T, 512, 8), dropout=dropout), device, found)
    return found


def implementations(work: Work) -> dict[str, Callable[..., nn.Module]]:
    """Every implementation that can do this work, torch's first."""
    kernels = ["auto", "math", "fast"] if work.need_weights else ["auto", "math", "fused", "fast"]

    def custom(kernel: str) -> Callable[..., nn.Module]:
        return lambda *args, **kwargs: MultiHeadAttention(*args, **kwargs, kernel=kernel)

    return {REFERENCE: nn.MultiheadAttention} | {f"minitf {k}": custom(k) for k in kernels}


def step(build: Callable[..., nn.Module], work: Work, device: str) -> Callable[[], None]:
    """One call, ready to be timed."""
    B, T, E, H = work.shape
    dtype = getattr(torch, work.dtype)
    torch.manual_seed(0)
    module = build(E, H, dropout=work.dropout, batch_first=True, device=device, dtype=dtype)
    module.train(work.training)
    x = torch.randn(B, T, E, device=device, dtype=dtype, requires_grad=work.training)
    gradient = torch.randn(B, T, E, device=device, dtype=dtype)
    masks: dict[str, Tensor] = {}
    if work.causal:
        masks["attn_mask"] = torch.ones(T, T, dtype=torch.bool, device=device).triu(1)
    if work.padded:
        lengths = torch.tensor([T if row % 2 else T - T // 4 for row in range(B)], device=device)
        masks["key_padding_mask"] = torch.arange(T, device=device) >= lengths[:, None]

    def call() -> None:
        with torch.set_grad_enabled(work.training):
            output, _ = module(
                x, x, x, need_weights=work.need_weights, is_causal=work.causal, **masks
            )
        if work.training:
            module.zero_grad(set_to_none=True)
            x.grad = None
            output.backward(gradient)
        if device == "cuda":
            torch.cuda.synchronize()

    return call


def measure_time(work: Work, device: str, rounds: int) -> list[Row]:
    """Time every implementation, interleaved; short calls are repeated to last 20 ms."""
    steps = {name: step(build, work, device) for name, build in implementations(work).items()}
    for call in steps.values():
        call()
    start = time.perf_counter()
    steps[REFERENCE]()
    repeats = math.ceil(0.02 / (time.perf_counter() - start))
    milliseconds: dict[str, list[float]] = {name: [] for name in steps}
    peak = cuda_peak(torch.cuda.get_device_name(), work.dtype) if device == "cuda" else None
    for _ in range(rounds):
        if device == "cpu":
            peak = max(peak or 0.0, measured_peak(2048, getattr(torch, work.dtype), 0.05))
        for name, call in steps.items():
            start = time.perf_counter()
            for _ in range(repeats):
                call()
            milliseconds[name].append((time.perf_counter() - start) * 1e3 / repeats)
    rows = []
    for name, times in milliseconds.items():
        median, spread = median_and_spread(times)
        share = None if peak is None else work.flops / (median / 1e3) / peak
        rows.append(Row(work.label(device), name, median, "ms", spread=spread, peak_share=share))
    return with_ratios(rows)


def measure_memory(work: Work, device: str, found: Findings) -> None:
    """Measure the peak of memory that one call adds, each implementation in its own process."""
    rows = []
    for name in implementations(work):
        command = [sys.executable, "-m", __name__, name, repr(work), device]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = done.stderr.strip() or f"it ended with exit code {done.returncode}"
            found.failures.append(Failure(work.label(device), name, reason.splitlines()[-1]))
        else:
            rows.append(Row(work.label(device), name, float(done.stdout), "MiB"))
    found.rows.extend(with_ratios(rows))


def peak_memory(name: str, work: Work, device: str) -> float:
    """MiB that one call adds to this process (call it in a fresh one)."""
    B, _, E, H = work.shape
    small = Work((B, 2, E, H), work.training, work.need_weights, work.dropout)
    step(implementations(work)[name], small, device)()  # load the libraries
    call = step(implementations(work)[name], work, device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 2**20
        call()
        return torch.cuda.max_memory_allocated() / 2**20 - before
    before = resident_peak()
    call()
    return resident_peak() - before


if __name__ == "__main__":
    print(peak_memory(sys.argv[1], eval(sys.argv[2]), sys.argv[3]))
