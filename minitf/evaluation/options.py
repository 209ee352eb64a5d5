"""Decoding options given by name, on top of a run's own."""

import dataclasses
from enum import Enum
from typing import Any, get_type_hints

from minitf.config.errors import UserError, neighbours
from minitf.config.schema import DecodingConfig, DecodingMethod
from minitf.decoding.options import check_options

_MEANS_BEAM = ("beam_size", "early_stopping")
_MEANS_SAMPLE = ("temperature", "top_k", "top_p", "seed")


def decoding_options(base: DecodingConfig, **options: Any) -> DecodingConfig:
    """`base` with some options replaced.

    Without `method`, an option that one method alone reads chooses it: a beam size means beam
    search, a temperature sampling.

    Args:
        base: A run's own way to decode.
        options: Fields of DecodingConfig; those that are None keep the value of `base`.

    Raises:
        UserError: An option is unknown, or its value is out of range.
    """
    given = {name: value for name, value in options.items() if value is not None}
    types = get_type_hints(DecodingConfig)
    for name, value in given.items():
        if name not in types:
            raise UserError(f"there is no decoding option {name!r}; {neighbours(name, types)}")
        given[name] = _converted(name, value, types[name])
    _refuse_what_is_not_read(given)
    if "method" not in given:
        if any(name in given for name in _MEANS_BEAM):
            given["method"] = DecodingMethod.beam
        elif any(name in given for name in _MEANS_SAMPLE):
            given["method"] = DecodingMethod.sample
        elif given.get("n_best", 1) > 1 and base.method == DecodingMethod.greedy:
            given["method"] = DecodingMethod.beam
    chosen = dataclasses.replace(base, **given)
    check_options(chosen)
    return chosen


def _refuse_what_is_not_read(given: dict[str, Any]) -> None:
    """Options of one search, given beside another search or its options."""
    own = {DecodingMethod.beam: _MEANS_BEAM, DecodingMethod.sample: _MEANS_SAMPLE}
    named = {method: [n for n in names if n in given] for method, names in own.items()}
    if "method" not in given and all(named.values()):
        beam, sample = (names[0] for names in named.values())
        raise UserError(
            f"decoding.{beam} is of beam search and decoding.{sample} of sampling: leave one out"
        )
    for method, names in named.items():
        if names and given.get("method", method) != method:
            raise UserError(
                f"decoding.{names[0]} is read with method={method.value} only; received method="
                f"{given['method'].value}: leave one out"
            )


def _converted(name: str, value: Any, kind: Any) -> Any:
    if issubclass(kind, Enum):
        names = [member.value for member in kind]
        if str(getattr(value, "value", value)) not in names:
            raise UserError(f"decoding.{name} is one of {', '.join(names)}; received {value!r}")
        return kind(value)
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise UserError(f"decoding.{name} takes {kind.__name__}; received {value!r}")
    return kind(value)
