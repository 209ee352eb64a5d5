"""What a user can get wrong when asking for a translation; each error is one line."""

import math
from collections.abc import Sequence

from minitf.config import UserError
from minitf.config.schema import DecodingConfig, DecodingMethod


def check_options(config: DecodingConfig) -> None:
    """Refuse what no search can do.

    Raises:
        UserError: for an option out of range.
    """
    at_least = {
        "beam_size": 1,
        "n_best": 1,
        "max_length_ratio": 0,
        "max_length_extra": 0,
        "min_length_ratio": 0,
        "min_length": 0,
        "top_k": 0,
        "no_repeat_ngram": 0,
        "batch_tokens": 1,
    }
    for name, lowest in at_least.items():
        if not getattr(config, name) >= lowest:
            raise UserError(
                f"decoding.{name} must be at least {lowest}, got {getattr(config, name)}"
            )
    for name in ("length_penalty", "max_length_ratio", "min_length_ratio", "temperature"):
        if not math.isfinite(getattr(config, name)):
            raise UserError(f"decoding.{name} must be a finite number, got {getattr(config, name)}")
    at_most = {
        "max_length_ratio": 1e3,
        "max_length_extra": 1e5,
        "min_length_ratio": 1e3,
        "beam_size": 1e4,
        "n_best": 1e4,
    }
    for name, highest in at_most.items():
        if getattr(config, name) > highest:
            raise UserError(
                f"decoding.{name} must be at most {highest:,.0f}, got {getattr(config, name)}"
            )
    if abs(config.length_penalty) > 10:  # beyond, scores of long sentences are 0 or infinite
        raise UserError(
            f"decoding.length_penalty must be from -10 to 10, got {config.length_penalty}"
        )
    if not config.temperature >= 1e-4:
        raise UserError(
            f"decoding.temperature must be at least 0.0001, got {config.temperature}; "
            f"for the likeliest token choose decoding.method=greedy"
        )
    if not 0 < config.top_p <= 1:
        raise UserError(f"decoding.top_p must be above 0 and at most 1, got {config.top_p}")
    most = {
        DecodingMethod.greedy: 1,
        DecodingMethod.beam: config.beam_size,
    }.get(DecodingMethod(config.method))
    if most is not None and config.n_best > most:
        raise UserError(
            f"decoding.n_best must be at most {most} with decoding.method="
            f"{DecodingMethod(config.method).value}, got {config.n_best}; raise decoding.beam_size "
            f"with method=beam, or choose method=sample"
        )


def checked_prefixes(
    prefix: Sequence[Sequence[int]] | None, batch: int, special: set[int], vocab_size: int
) -> list[list[int]]:
    """A list of token ids for each sentence, empty where nothing is forced.

    Raises:
        UserError: for prefixes that do not suit the batch or hold tokens that none may hold.
    """
    if prefix is None:
        return [[] for _ in range(batch)]
    prefixes = [[int(token) for token in tokens] for tokens in prefix]
    if len(prefixes) != batch:
        raise UserError(
            f"a forced prefix is needed for each sentence, got {len(prefixes)} for {batch}; "
            f"give an empty one where nothing is forced"
        )
    for number, tokens in enumerate(prefixes):
        for token in tokens:
            if token in special or not 0 <= token < vocab_size:
                raise UserError(
                    f"a forced prefix may hold ordinary tokens only, got {token} for sentence "
                    f"{number}; leave BOS, EOS and padding out"
                )
    return prefixes
