"""`--to safetensors`: what `minitf.load` reads back, on any machine, without running code."""

import json
from pathlib import Path
from typing import Any

import torch

from minitf.config.compose import plain
from minitf.evaluation import Translator, load
from minitf.evaluation.stored import EXPORT_FORMAT
from minitf.export.command import without_places
from minitf.export.parts import Check, compare_logits, probe

_OF_THE_RUN = ("run_dir", "resume", "logger")
"""What an export leaves out of the configuration."""


def write(translator: Translator, directory: Path) -> None:
    """config.json, tokenizer.json, model.safetensors."""
    from safetensors.torch import save_file

    weights, shared = _without_repeats(translator.model.state_dict())
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    translator.tokenizer.save(directory / "tokenizer.json")
    content = {
        "format": EXPORT_FORMAT,
        "tokenizer": translator.tokenizer.fingerprint,
        "shared": shared,
        "config": _config(translator),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (directory / "config.json").write_text(text + "\n", encoding="utf-8")


def check(translator: Translator, directory: Path) -> Check:
    """Load it back and compare."""
    device = translator.device
    loaded = load(directory, device=device, attention=translator.config.attention)
    src, tgt = (tokens.to(device) for tokens in probe(translator))
    with torch.inference_mode():
        return compare_logits(translator.model(src, tgt), loaded.model(src, tgt), 0.0)


def _without_repeats(
    state: dict[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Each tied weight once, and under which other names it stands: the format stores no ties."""
    kept: dict[str, torch.Tensor] = {}
    shared: dict[str, str] = {}
    first_of: dict[int, str] = {}
    for name, weight in state.items():
        first = first_of.setdefault(weight.data_ptr(), name)
        if first == name:
            kept[name] = weight.detach().cpu().contiguous()
        else:
            shared[name] = first
    return kept, shared


def _config(translator: Translator) -> dict[str, Any]:
    from omegaconf import OmegaConf

    whole = plain(OmegaConf.structured(translator.config))
    for part in ("data", "tokenizer"):
        whole[part] = without_places(whole[part])
    return {group: value for group, value in whole.items() if group not in _OF_THE_RUN}
