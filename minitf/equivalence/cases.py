"""The case matrix: which calls of an attention module are compared.

A case gives one value to each of the axes below. Bugs in masks, layouts and options nearly always
need one, two or three conditions together, so the matrix is a covering array (Kuhn, Wallace and
Gallo 2004): every pair (quick) or triple (thorough) of axis values that can occur together does
occur in some case. It is built greedily and depends on the seed alone.
"""

import itertools
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields

import torch

MASK_AXIS = ("none", "bool", "float", "causal", "bool_per_head", "float_per_head")
DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
DROPOUT = 0.25


@dataclass(frozen=True)
class Case:
    """One call of an attention module; the axes of the matrix, in the order a reader would ask."""

    inputs: str = "self"
    """self: query = key = value; cross: key = value; distinct: none; kdim_vdim: nor widths."""
    attn_mask: str = "none"
    key_padding: str = "none"
    """none, bool, or float (-inf at padding, small numbers elsewhere)."""
    fully_masked: bool = False
    """One query may see no key at all."""
    weights: str = "none"
    """none: need_weights=False; averaged over the heads; per_head."""
    mode: str = "train"
    """train or eval, with gradients; inference: eval without (torch's fast path)."""
    dropout: float = 0.0
    lengths: tuple[int, int] = (7, 11)
    """Target and source; self-attention has the first for both."""
    batch: int = 3
    """0: without a batch axis."""
    batch_first: bool = True
    heads: tuple[int, int] = (2, 8)
    """Number of heads and the dimensions of each."""
    bias: bool = True
    bias_kv: bool = False
    zero_attn: bool = False
    layout: str = "contiguous"
    """contiguous, strided (every second number of a wider tensor) or expanded over the batch."""

    @property
    def embed_dim(self) -> int:
        """E, all heads together."""
        return self.heads[0] * self.heads[1]

    @property
    def target(self) -> int:
        """T, queries."""
        return self.lengths[0]

    @property
    def source(self) -> int:
        """S, keys."""
        return self.lengths[0] if self.inputs == "self" else self.lengths[1]

    @property
    def options(self) -> dict[str, object]:
        """The constructor's options that not every attention has, where they are used."""
        used: dict[str, object] = {
            "bias": None if self.bias else False,
            "add_bias_kv": self.bias_kv or None,
            "add_zero_attn": self.zero_attn or None,
        }
        if self.inputs == "kdim_vdim":
            used |= {"kdim": self.embed_dim + 2, "vdim": self.embed_dim + 5}
        return {name: value for name, value in used.items() if value is not None}

    @property
    def label(self) -> str:
        """The axes whose value is not the default, as one line."""
        parts = [f"{axis}={_show(v)}" for axis, v in asdict(self).items() if v != _DEFAULTS[axis]]
        return " ".join([f"inputs={self.inputs}", *(p for p in parts if p[:7] != "inputs=")])


def _show(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


_DEFAULTS = {field.name: field.default for field in fields(Case)}

Axes = dict[str, tuple[object, ...]]
AXES: Axes = {
    "inputs": ("self", "cross", "distinct", "kdim_vdim"),
    "attn_mask": MASK_AXIS,
    "key_padding": ("none", "bool", "float"),
    "fully_masked": (False, True),
    "weights": ("none", "averaged", "per_head"),
    "mode": ("train", "eval", "inference"),
    "dropout": (0.0, DROPOUT),
    "lengths": ((7, 11), (1, 5), (9, 1), (16, 17), (15, 8), (1, 1)),
    "batch": (3, 1, 0),
    "batch_first": (True, False),
    "heads": ((2, 8), (3, 5), (4, 16), (1, 7)),
    "bias": (True, False),
    "bias_kv": (False, True),
    "zero_attn": (False, True),
    "layout": ("contiguous", "strided", "expanded"),
}

Pair = tuple[str, object]


def possible(values: dict[str, object]) -> bool:
    """Whether axis values (not necessarily all axes) can occur together."""

    def has(axis: str, *wanted: object) -> bool:
        return axis in values and values[axis] in wanted

    masked = not (has("attn_mask", "none", "causal") and has("key_padding", "none"))
    return not (
        (has("fully_masked", True) and not masked)
        or (has("batch", 0) and has("layout", "expanded"))
        or (has("dropout", DROPOUT) and has("mode", "inference"))
        # Which weights on the key of zeros were dropped cannot be seen from outside.
        or (has("dropout", DROPOUT) and has("zero_attn", True))
    )


def covering_array(strength: int, seed: int, without: Iterable[str] = ()) -> Iterator[Case]:
    """Cases in which each possible combination of `strength` axis values occurs at least once.

    Args:
        strength: How many values together.
        seed: Of the choices that are free.
        without: Constructor options that no case may use.
    """
    rng = random.Random(seed)
    axes = _axes(set(without))
    uncovered = {
        pairs
        for chosen in itertools.combinations(axes, strength)
        for values in itertools.product(*(axes[axis] for axis in chosen))
        if possible(dict(pairs := tuple(zip(chosen, values, strict=True))))
    }
    order = sorted(uncovered, key=repr)
    rng.shuffle(order)
    for goal in order:
        if goal not in uncovered:
            continue
        candidates = [_complete(dict(goal), axes, rng) for _ in range(6)]
        best = max(candidates, key=lambda values: len(_tuples(values, strength) & uncovered))
        uncovered -= _tuples(best, strength)
        uncovered.discard(goal)
        yield Case(**best)  # type: ignore[arg-type]


def _axes(without: set[str]) -> Axes:
    """The axes with those values alone that use none of these options."""

    def usable(axis: str, value: object) -> bool:
        case = Case(**{axis: value})  # type: ignore[arg-type]
        return not without & case.options.keys()

    return {axis: tuple(v for v in values if usable(axis, v)) for axis, values in AXES.items()}


def _complete(values: dict[str, object], axes: Axes, rng: random.Random) -> dict[str, object]:
    """Axis values with the missing ones chosen at random among those possible."""
    missing = [axis for axis in axes if axis not in values]
    rng.shuffle(missing)
    complete = dict(values)
    for axis in missing:
        choices = [v for v in axes[axis] if possible({**complete, axis: v})]
        complete[axis] = rng.choice(choices)
    return {axis: complete[axis] for axis in axes}


def _tuples(values: dict[str, object], strength: int) -> set[tuple[Pair, ...]]:
    return set(itertools.combinations(values.items(), strength))
