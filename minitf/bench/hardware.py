"""What the hardware could do at most, and how much arithmetic an update takes."""

from minitf.bench.task import TrainingTask

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


def training_flops(task: TrainingTask, src_tokens: int, tgt_tokens: int) -> float:
    """FLOPs of forward and backward of so many tokens, as FORMULA counts them."""
    E, F = task.embed_dim, task.feedforward_dim
    encoder = task.num_encoder_layers * (4 * E * E + 2 * E * F)
    keys_and_values = task.num_decoder_layers * 2 * E * E
    decoder = task.num_decoder_layers * (6 * E * E + 2 * E * F) + task.vocab_size * E
    return 6.0 * ((encoder + keys_and_values) * src_tokens + decoder * tgt_tokens)


def peak_remark(precision: str, peak: float | None, device: str) -> str:
    """Which peak the shares are of."""
    if peak is None:
        return "the device's peak is unknown"
    how = "the fastest of a 2,048³ matrix product in this run's rounds"
    if device != "cpu":
        how = "dense, by the device's name"
    return f"peak {peak / 1e12:,.3f} TFLOP/s in {precision} ({how})"
