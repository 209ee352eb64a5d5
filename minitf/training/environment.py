"""What a run was made with: device, versions, threads."""

import os
import platform
from importlib.metadata import version
from typing import Any

import torch

PACKAGES = ("torch", "lightning", "datasets", "tokenizers", "hydra-core", "wandb", "sacrebleu")


def device_name(device: torch.device) -> str:
    """The device in words, such as `NVIDIA H200` or `CPU (2 threads, AMD EPYC)`."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({torch.get_num_threads()} threads, {_processor()})"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def environment(device: torch.device) -> dict[str, Any]:
    """Device, operating system, and the versions of what the run stands on."""
    return {
        "device": device_name(device),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("minitf", *PACKAGES)},
        "cuda": torch.version.cuda,
    }
