"""What every other engine needs of a model: plain weights, and a refusal of what it lacks."""

import importlib
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import Tensor, nn

from minitf.config.errors import UserError
from minitf.evaluation import Translator

SINUSOIDS = 1_024
"""Positions of the table that an export of positions=sinusoidal holds."""


@dataclass(frozen=True)
class Check:
    """What came out when an export was run in its engine beside the model."""

    passed: bool
    finding: str


@dataclass(frozen=True)
class Projections:
    """The four linear maps of an attention, (E, E) weights and (E,) biases."""

    query: tuple[Tensor, Tensor]
    key: tuple[Tensor, Tensor]
    value: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]


def projections(attention: nn.Module, engine: str) -> Projections:
    """An attention's weights, taken apart; a missing bias is zero.

    Raises:
        UserError: The module has weights that a plain multi-head attention lacks.
    """
    known = {"in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"}
    state = attention.state_dict()
    name = f"{type(attention).__module__}.{type(attention).__qualname__}"
    if "in_proj_weight" not in state or "out_proj.weight" not in state:
        raise UserError(f"attention={name}: {engine} has no such attention; use --to safetensors")
    for option, used in (
        ("add_bias_kv", bool(state.keys() - known)),
        ("add_zero_attn", bool(getattr(attention, "add_zero_attn", False))),
    ):
        if used:
            raise UserError(f"attention.{option}: {engine} has no such attention")
    weights = state["in_proj_weight"].chunk(3)
    E = weights[0].size(1)
    biases = state.get("in_proj_bias", torch.zeros(3 * E).to(weights[0])).chunk(3)
    query, key, value = zip(weights, biases, strict=True)
    out = (state["out_proj.weight"], state.get("out_proj.bias", torch.zeros_like(biases[0])))
    return Projections(query, key, value, out)


def check_known_attention(translator: Translator, engine: str) -> None:
    """Refuse a user's own attention class: an engine knows only the ordinary one.

    Raises:
        UserError: The model's attention is neither minitf's nor torch's.
    """
    for module in translator.model.modules():
        if hasattr(module, "in_proj_weight") or hasattr(module, "out_proj"):
            kind = type(module)
            if not kind.__module__.startswith(("minitf.attention", "torch.nn")):
                raise UserError(
                    f"attention={kind.__module__}.{kind.__qualname__}: {engine} computes ordinary "
                    f"multi-head attention only; use --to safetensors"
                )


def position_table(positions: nn.Module, length: int) -> Tensor:
    """(length, E): the vectors that are added at each position."""
    with torch.no_grad():
        table: Tensor = positions(0, length)
    return table.detach().cpu()


def num_positions(translator: Translator) -> int:
    """Positions that an export has vectors for."""
    return translator.model.max_positions or SINUSOIDS


def need(package: str, engine: str) -> ModuleType:
    """Import an engine's package.

    Raises:
        UserError: It is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"--to {engine} needs the package {package} ({error}): pip install 'minitf[export]'"
        ) from error


def probe(translator: Translator, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Random token ids to compare engines on: sources (3, 13) and targets (3, 8), padded.

    Shorter where the model has positions for fewer.
    """
    tokenizer = translator.tokenizer
    generator = torch.Generator().manual_seed(seed)
    first = max(tokenizer.pad_id, tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id) + 1
    longest = num_positions(translator)
    S, T = min(13, longest), min(8, longest)
    src = torch.randint(first, tokenizer.vocab_size, (3, S), generator=generator)
    tgt = torch.randint(first, tokenizer.vocab_size, (3, T), generator=generator)
    tgt[:, 0] = tokenizer.bos_id
    for row, length in enumerate((S, min(9, S), min(4, S))):
        src[row, length - 1] = tokenizer.eos_id
        src[row, length:] = tokenizer.pad_id
    return src, tgt


def compare_logits(expected: Tensor, found: Tensor, tolerance: float = 1e-5) -> Check:
    """The largest difference of two logit tensors, of the largest logit where that is above 1."""
    difference = (expected.double() - found.double()).abs().max().item()
    most = tolerance * max(1.0, expected.abs().max().item())
    return Check(difference <= most, f"largest difference of a logit {difference:.1e}")
