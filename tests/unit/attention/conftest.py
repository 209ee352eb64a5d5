"""The grid: calls of an attention module that are compared with torch's, to the last bit."""

import itertools
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import pytest
import torch
from torch import Tensor, nn

# Batch, target and source length, heads and dimensions per head: no two alike.
SMALL = (3, 7, 5, 2, 11)
LARGE = (2, 67, 139, 4, 16)  # beyond the block sizes of torch's CPU kernels

AXES = {
    "inputs": ("self", "cross", "distinct", "kdim_vdim"),
    "mask": (
        "none",
        "bool",
        "float",
        "per_head",
        "causal_hint",
        "padding",
        "float_padding",
        "bool+padding",
        "bool+float_padding",
        "float+padding",
        "per_head+padding",
        "per_head+float_padding",
        "causal_hint+padding",
        "float+float_padding",
        "float_per_head+float_padding",
    ),
    "extra_keys": ("none", "bias_kv", "zero_attn", "both"),
    "bias": (True, False),
    "weights": ("none", "averaged", "per_head"),
    "mode": ("train", "dropout", "eval", "inference"),
    "layout": ("sequence_first", "batch_first", "unbatched"),
}


@dataclass(frozen=True)
class Case:
    """One call: a value for each axis."""

    inputs: str
    mask: str
    extra_keys: str
    bias: bool
    weights: str
    mode: str
    layout: str
    sizes: tuple[int, int, int, int, int] = SMALL


def all_cases() -> list[Case]:
    """Every combination, save where torch's own answer depends on need_weights.

    With a causal hint, extra keys and no weights wanted, torch hides the extra keys from most
    queries although the mask does not.
    """
    cases = (Case(**dict(zip(AXES, v, strict=True))) for v in itertools.product(*AXES.values()))
    return [
        case
        for case in cases
        if not (case.mask == "causal_hint" and case.extra_keys != "none" and case.weights == "none")
    ]


def sample(count: int, seed: int = 0, sizes: tuple[int, ...] = SMALL) -> list[Case]:
    """A random subset of all cases, the same for the same seed."""
    chosen = random.Random(seed).sample(all_cases(), count)
    return [Case(**{**asdict(case), "sizes": sizes}) for case in chosen]


def build(cls: Callable[..., nn.Module], case: Case, dtype: torch.dtype, device: str) -> nn.Module:
    """The module, initialised from a fixed random state."""
    _, _, _, H, D = case.sizes
    torch.manual_seed(1)
    return cls(
        H * D,
        H,
        dropout=0.0 if case.mode == "train" else 0.3,
        bias=case.bias,
        add_bias_kv=case.extra_keys in ("bias_kv", "both"),
        add_zero_attn=case.extra_keys in ("zero_attn", "both"),
        kdim=H * D + 3 if case.inputs == "kdim_vdim" else None,
        vdim=H * D + 7 if case.inputs == "kdim_vdim" else None,
        batch_first=case.layout == "batch_first",
        dtype=dtype,
        device=device,
    ).train(case.mode in ("train", "dropout"))


def inputs(case: Case, dtype: torch.dtype, device: str) -> tuple[list[Tensor], dict[str, Tensor]]:
    """Query, key and value (the same objects where shared) and masks, as leaves."""
    B, T, S, H, D = case.sizes
    E = H * D
    generator = torch.Generator().manual_seed(2)

    def random_tensor(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)

    def tensor(length: int, width: int) -> Tensor:
        shapes = {
            "sequence_first": (length, B, width),
            "batch_first": (B, length, width),
            "unbatched": (length, width),
        }
        return random_tensor(*shapes[case.layout]).requires_grad_()

    query = tensor(T, E)
    if case.inputs == "self":
        S, tensors = T, [query] * 3
    elif case.inputs == "cross":
        tensors = [query] + [tensor(S, E)] * 2
    else:
        more = (3, 7) if case.inputs == "kdim_vdim" else (0, 0)
        tensors = [query, tensor(S, E + more[0]), tensor(S, E + more[1])]

    if case.layout == "unbatched":
        B = 1
    blocked = torch.rand(B * H, T, S, generator=generator) < 0.4
    blocked[..., 0] = False  # every query sees the first key
    padding = torch.arange(S) >= torch.randint(1, S + 1, (B, 1), generator=generator)
    masks: dict[str, Tensor] = {}
    for part in case.mask.split("+"):
        if part == "bool":
            masks["attn_mask"] = blocked[0].to(device)
        elif part == "float":
            masks["attn_mask"] = random_tensor(T, S).requires_grad_()
        elif part == "per_head":
            masks["attn_mask"] = blocked.to(device)
        elif part == "float_per_head":
            masks["attn_mask"] = random_tensor(B * H, T, S).requires_grad_()
        elif part == "causal_hint":
            masks["attn_mask"] = torch.ones(T, S, dtype=torch.bool, device=device).triu(1)
        elif part == "padding":
            masks["key_padding_mask"] = padding.to(device)
        elif part == "float_padding":
            masks["key_padding_mask"] = random_tensor(B, S).requires_grad_()
    if case.layout == "unbatched" and "key_padding_mask" in masks:
        masks["key_padding_mask"] = masks["key_padding_mask"].detach()[0].clone()
        if case.mask.endswith("float_padding"):
            masks["key_padding_mask"].requires_grad_()
    return tensors, masks


def run(
    cls: Callable[..., nn.Module], case: Case, dtype: torch.dtype, device: str = "cpu"
) -> dict[str, object]:
    """Everything a call leaves behind: tensors, strides, gradients, random state."""
    module = build(cls, case, dtype, device)
    left: dict[str, object] = {f"initial {k}": v.clone() for k, v in module.state_dict().items()}
    with torch.no_grad():  # biases start at zero, where a lost one would not show
        for p in module.parameters():
            p.add_(torch.randn(p.shape, device=device, dtype=torch.float64).to(dtype) * 0.2)
    tensors, masks = inputs(case, dtype, device)
    torch.manual_seed(3)
    with warnings.catch_warnings(), torch.set_grad_enabled(case.mode != "inference"):
        warnings.filterwarnings("ignore", message="Support for mismatched")  # torch's, of its masks
        output, weights = module(
            *tensors,
            need_weights=case.weights != "none",
            average_attn_weights=case.weights == "averaged",
            is_causal="causal_hint" in case.mask,
            **masks,
        )
    on_gpu = device == "cuda"
    left["random state"] = torch.cuda.get_rng_state() if on_gpu else torch.get_rng_state()
    left |= {"output": output, "output strides": output.stride()}
    if weights is not None:
        left |= {"weights": weights, "weights strides": weights.stride()}
    if case.mode == "inference":
        return left
    loss = (output * torch.linspace(-1, 1, output.numel(), device=device).view_as(output)).sum()
    if weights is not None:
        slope = torch.linspace(-2, 1, weights.numel(), device=device).view_as(weights)
        loss = loss + (weights * slope).sum()
    loss.backward()
    leaves = dict(zip(("query", "key", "value"), tensors, strict=True)) | masks
    for name, leaf in (leaves | dict(module.named_parameters())).items():
        left[f"gradient of {name}"] = leaf.grad
    return left


def same_bits(a: object, b: object) -> bool:
    """Whether two results are the same, tensors bit by bit."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    return a is None and b is None if a is None or b is None else a == b


class Grid:
    """What the tests take from this file."""

    SMALL, LARGE = SMALL, LARGE
    all_cases = staticmethod(all_cases)
    sample = staticmethod(sample)
    run = staticmethod(run)
    inputs = staticmethod(inputs)
    build = staticmethod(build)

    @staticmethod
    def differences(
        cls: Callable[..., nn.Module],
        cases: list[Case],
        dtype: torch.dtype,
        device: str = "cpu",
    ) -> Iterator[str]:
        """Name each result in which `cls` differs from torch's module."""
        for case in cases:
            expected = run(nn.MultiheadAttention, case, dtype, device)
            actual = run(cls, case, dtype, device)
            names = expected.keys() | actual.keys()
            differing = [
                name for name in names if not same_bits(expected.get(name), actual.get(name))
            ]
            if differing:
                yield f"{case}: {', '.join(sorted(differing))}"


@pytest.fixture(scope="session")
def grid() -> type[Grid]:
    """The grid of cases and its comparison."""
    return Grid
