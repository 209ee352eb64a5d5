"""How a bug, or a harmless change, is planted in a copy of minitf's attention.

The copy is a subclass; nothing outside it changes. Four places take a change: the kernel (see
`minitf.attention.kernels` for its contract), a function of the module's file, what goes into
`forward`, and what comes out of it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from minitf.attention import MultiHeadAttention
from minitf.attention import module as attention_file
from minitf.attention.kernels import KERNELS
from minitf.equivalence.implementations import Implementation

Kernel = Callable[..., tuple[Tensor, Tensor | None]]


@dataclass(frozen=True)
class Planted:
    """A copy of the attention with one change."""

    name: str
    build: type[MultiHeadAttention]
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of its constructor, where the change is one of these."""

    def implementation(self, **options: Any) -> Implementation:
        """The copy as a candidate, built with these options."""
        return Implementation(self.name, self.build, {**options, **self.options})


class PlantedAttention(MultiHeadAttention):
    """Runs with some names of the attention module's file replaced."""

    replaced: ClassVar[Mapping[str, Any]] = {}

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """See MultiHeadAttention."""
        with _replaced(self.replaced):
            return super().forward(*args, **kwargs)


@contextlib.contextmanager
def _replaced(names: Mapping[str, Any]) -> Iterator[None]:
    before = {name: getattr(attention_file, name) for name in names}
    try:
        for name, value in names.items():
            setattr(attention_file, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(attention_file, name, value)


def planted(name: str, **replaced: Any) -> Planted:
    """A copy with names of the module's file replaced."""
    return Planted(name, type("Planted", (PlantedAttention,), {"replaced": replaced}))


def in_kernel(name: str, kernel: Kernel) -> Planted:
    """A copy with another kernel throughout; it gets the original one as its first argument."""

    def wrap(original: Kernel) -> Kernel:
        return lambda *args, **options: kernel(original, *args, **options)

    return planted(
        name,
        KERNELS={key: wrap(original) for key, original in KERNELS.items()},
        # torch's inference kernel is followed apart from the contract; the copy stays with it.
        follows_torch=lambda *_: None,
    )


def before_forward(
    name: str, change: Callable[[MultiHeadAttention, dict[str, Any]], None]
) -> Planted:
    """A copy whose arguments are changed, by name, before the original forward."""

    class Changed(MultiHeadAttention):
        def forward(
            self, query: Tensor, key: Tensor | None, value: Tensor | None, *args: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor | None]:
            names = ("key_padding_mask", "need_weights", "attn_mask")
            arguments = {"query": query, "key": key, "value": value}
            arguments |= dict(zip(names, args, strict=False)) | kwargs
            change(self, arguments)
            forward: Any = super().forward
            return forward(**arguments)  # type: ignore[no-any-return]

    return Planted(name, Changed)


def after_forward(
    name: str,
    change: Callable[[MultiHeadAttention, Tensor, Tensor | None, dict[str, Any]], Any],
) -> Planted:
    """A copy whose results are changed after the original forward."""

    class Changed(MultiHeadAttention):
        def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
            output, weights = super().forward(*args, **kwargs)
            return change(self, output, weights, kwargs)  # type: ignore[no-any-return]

    return Planted(name, Changed)


def scores_of(q: Tensor, k: Tensor, mask: Tensor | None, is_causal: bool) -> Tensor:
    """The masked scores q kᵀ / √D, (B, H, T, S)."""
    scores: Tensor = q @ k.mT / q.shape[-1] ** 0.5
    if is_causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(future, -torch.inf)
    return scores if mask is None else scores + mask


def attend(
    weights: Tensor, v: Tensor, dropout: float, need_weights: bool
) -> tuple[Tensor, Tensor | None]:
    """Dropout and the weighted sum of values."""
    weights = torch.dropout(weights, dropout, dropout > 0)
    return weights @ v, weights if need_weights else None
