"""How long each target may be.

Shapes: B sentences, S source length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from minitf.config import UserError
from minitf.config.schema import DecodingConfig
from minitf.model import Transformer

_ROUNDING = 1e-6
"""0.29 · 100 is a little less than 29 in binary, and 0.07 · 100 a little more than 7."""


@dataclass(frozen=True)
class Limits:
    """Numbers of tokens, EOS not counted, for each sentence; known on the host from the start."""

    min_length: list[int]
    max_length: list[int]

    def keep(self, sentences: Sequence[int]) -> "Limits":
        """The limits of these sentences."""
        return Limits(
            [self.min_length[i] for i in sentences], [self.max_length[i] for i in sentences]
        )


def limits_of(
    model: Transformer,
    src: Tensor,
    config: DecodingConfig,
    prefixes: list[list[int]],
    *,
    pad_id: int,
    eos_id: int,
) -> Limits:
    """Lengths from the sources' own; EOS is counted in neither.

    Where they contradict each other, the model's positions go before all else, then a prefix, the
    maximum length and the minimum length.

    Args:
        model: may have positions for so many tokens only.
        src: (B, S) source tokens, padded on the right.
        config: max_length_ratio, max_length_extra, min_length_ratio, min_length.
        prefixes: tokens that each target begins with.
        pad_id: the padding token's id.
        eos_id: the end-of-sentence token's id.

    Raises:
        UserError: for a source that is all padding, and a source or a prefix that is too long for
            the model.
    """
    real = src != pad_id
    for number, any_token in enumerate(real.any(1).tolist()):
        if not any_token:
            raise UserError(
                f"every source needs at least its end-of-sentence token, sentence {number} is "
                f"all padding"
            )
    # The last of n tokens is read at position n, BOS standing at 0.
    most = model.max_positions - 1 if model.max_positions is not None else None
    if model.max_positions is not None and src.size(1) > model.max_positions:
        raise UserError(
            f"model.positions=learned has vectors for {model.max_positions} positions, too few for "
            f"a source of {src.size(1)} tokens: shorten it"
        )
    minima, maxima = [], []
    for length, forced in zip((real & (src != eos_id)).sum(1).tolist(), prefixes, strict=True):
        longest = max(longest_output(length, config), len(forced))
        if most is not None:
            longest = min(longest, most)
            if len(forced) > most:
                raise UserError(
                    f"model.positions=learned has vectors for {model.max_positions} positions, "
                    f"too few for a forced prefix of {len(forced)} tokens"
                )
        shortest = max(config.min_length, math.ceil(config.min_length_ratio * length - _ROUNDING))
        maxima.append(longest)
        minima.append(min(shortest, longest))
    return Limits(minima, maxima)


def longest_output(source_length: int, config: DecodingConfig) -> int:
    """The most tokens that a source of so many tokens may get, EOS counted in neither."""
    ratio = config.max_length_ratio * source_length
    return math.floor(ratio + _ROUNDING) + config.max_length_extra
