"""What the hardware could do at most, and how much arithmetic the works of the bench take."""

import time
from collections.abc import Callable
from functools import partial

import torch

from minitf.attention.linear import may_take_onednn, multiply
from minitf.bench.rounds import Implementation, Measured
from minitf.bench.task import TrainingTask
from minitf.model import Transformer

CUDA_PEAKS = {
    ("H100", "bfloat16"): 989e12,
    ("H200", "bfloat16"): 989e12,
    ("A100", "bfloat16"): 312e12,
    ("H100", "float32"): 67e12,
    ("H200", "float32"): 67e12,
    ("A100", "float32"): 19.5e12,
}
"""Dense FLOP/s by a part of the device's name (NVIDIA's data sheets, SXM); float32 without TF32."""

FORMULA = (
    "share of the peak: 6 FLOPs per weight of a matrix and token that counts (an encoder's weight, "
    "or a key's and value's of cross-attention, per source token; any other decoder weight and the "
    "output projection's per target token); attention's own products and padding count for nothing"
)


def cuda_peak(name: str, precision: str) -> float | None:
    """Dense FLOP/s of a CUDA device, None where its name or board is unknown.

    >>> cuda_peak("NVIDIA H200", "bfloat16")
    989000000000000.0
    >>> cuda_peak("NVIDIA H100 PCIe", "bfloat16")
    """
    if "PCIe" in name or "NVL" in name:  # slower boards of the same name
        return None
    for (part, known), peak in CUDA_PEAKS.items():
        if part in name and known == precision:
            return peak
    return None


def peak_worker(precision: str, device: str) -> Implementation:
    """Large matrix products, taking turns with everybody else; for `peak_of`."""
    size = 2048 if device == "cpu" else 64  # a GPU's peak is known by its name
    arguments = {"size": size, "precision": precision}
    return Implementation("matrix product", "minitf.bench.alternatives.peak", "run", arguments)


def peak_of(measured: Measured, precision: str, device: str) -> float | None:
    """FLOP/s that the device does at most; None where that is unknown.

    Args:
        measured: the rounds of `peak_worker`.
        precision: float32 or bfloat16.
        device: cpu or cuda.
    """
    if device == "cuda":
        return cuda_peak(torch.cuda.get_device_name(), precision)
    return max((r["flops"] for r in measured.rounds), default=None)


def measured_peak(size: int, dtype: torch.dtype, seconds: float) -> float:
    """FLOP/s of the CPU in products of two (size, size) matrices, by the quickest library.

    Args:
        size: of the matrices.
        dtype: theirs.
        seconds: for each library's products.
    """
    left, right = torch.randn(2, size, size).to(dtype).unbind()
    out = torch.empty_like(left)
    libraries = [partial(torch.mm, left, right, out=out)]
    if may_take_onednn(left):
        libraries.append(partial(multiply, left, right))
    return max(2 * size**3 * _rate(product, seconds) for product in libraries)


def _rate(function: Callable[[], object], seconds: float) -> float:
    """Calls a second, of as many as fit in the time."""
    function()
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        function()
        calls += 1
    return calls / elapsed


def training_flops(task: TrainingTask, src_tokens: int, tgt_tokens: int) -> float:
    """FLOPs of forward and backward of so many tokens, as FORMULA counts them."""
    E, F = task.embed_dim, task.feedforward_dim
    encoder = task.num_encoder_layers * (4 * E * E + 2 * E * F)
    keys_and_values = task.num_decoder_layers * 2 * E * E
    decoder = task.num_decoder_layers * (6 * E * E + 2 * E * F) + task.vocab_size * E
    return 6.0 * ((encoder + keys_and_values) * src_tokens + decoder * tgt_tokens)


def weights_met(model: Transformer) -> tuple[int, int]:
    """Weights of matrices that a source token and a target token meet in decoding.

    A source token meets the encoder's and those of the keys and values of cross-attention.
    """
    encoder, decoder = (
        sum(p.numel() for p in stack.parameters() if p.dim() > 1)
        for stack in (model.encoder, model.decoder)
    )
    E = model.embed_dim
    keys_and_values = len(model.decoder.layers) * 2 * E * E
    return encoder + keys_and_values, decoder - keys_and_values + model.vocab_size * E


def peak_remark(precision: str, peak: float | None, device: str) -> str:
    """Which peak the shares are of."""
    if peak is None:
        return "the device's peak is unknown"
    how = "the fastest of a 2,048³ matrix product in this run's rounds"
    if device != "cpu":
        how = "dense, by the device's name"
    return f"peak {peak / 1e12:,.3f} TFLOP/s in {precision} ({how})"
