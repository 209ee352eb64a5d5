"""What a run was made with: device, versions, threads."""

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import minitf

PACKAGES = ("lightning", "datasets", "tokenizers", "hydra-core", "wandb", "sacrebleu")


def device_name(device: torch.device) -> str:
    """The device in words, such as `NVIDIA H200` or `CPU (2 threads, AMD EPYC)`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return f"{device.type.upper()} ({_processor()})"
    return f"CPU ({torch.get_num_threads()} threads, {_processor()})"


def _processor() -> str:
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # wandb can be done without
        return None


def environment(device: torch.device) -> dict[str, Any]:
    """What figures depend on beside the code: device, system, and versions."""
    precision: dict[str, str] = {}
    if device.type == "cuda":
        with contextlib.suppress(RuntimeError):  # somebody has set it for one backend alone
            precision["float32_matmul_precision"] = torch.get_float32_matmul_precision()
    return {
        "device": device_name(device),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "minitf": minitf.__version__,
        **{name: _version(name) for name in PACKAGES},
        "torch": torch.__version__,  # which says of what build it is
        "cuda": torch.version.cuda,
        **precision,
    }
