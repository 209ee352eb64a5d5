"""One translation that a search found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Hypothesis:
    """A target sentence and what the model thinks of it.

    A hypothesis always ends with EOS: at its maximum length EOS is the one token allowed.
    """

    tokens: list[int]
    """Without BOS and EOS, with the forced prefix."""
    log_prob: float
    """log P(tokens, EOS | source) in nats, as the model alone gives it: no constraint, temperature
    or truncation of the search changes it."""
    score: float
    """log_prob / (len(tokens) + 1) ** length_penalty: what hypotheses are ranked by."""
    finished: bool
    """False where the maximum length cut the sentence off: EOS was not the likeliest token."""


def score_of(log_prob: float, num_tokens: int, length_penalty: float) -> float:
    """Length-normalised log-probability; `num_tokens` counts EOS (Wu et al. 2016 without its 5)."""
    return float(log_prob / num_tokens**length_penalty)
