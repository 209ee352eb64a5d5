"""Decoding options given by name, on top of a run's own."""

import dataclasses
import difflib
from enum import Enum
from typing import Any, get_type_hints

from minitf.config.errors import UserError
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
            near = difflib.get_close_matches(name, types, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise UserError(
                f"there is no decoding option {name!r}; {hint}there is: {', '.join(types)}"
            )
        given[name] = _converted(name, value, types[name])
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


def _converted(name: str, value: Any, kind: Any) -> Any:
    if issubclass(kind, Enum):
        names = [member.value for member in kind]
        if str(getattr(value, "value", value)) not in names:
            raise UserError(f"decoding.{name} is one of {', '.join(names)}; received {value!r}")
        return kind(value)
    if isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
        raise UserError(f"decoding.{name} takes {kind.__name__}; received {value!r}")
    return kind(value)
