"""One translation that a search found."""

import math
from dataclasses import dataclass

from torch import Tensor

from minitf.config import UserError


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


def make_hypotheses(
    tokens: Tensor, log_prob: Tensor, cut: Tensor, eos_id: int, length_penalty: float
) -> list[list[Hypothesis]]:
    """Bring what was found for some sentences to the host.

    Args:
        tokens: (B, K, L) BOS first; what follows the first EOS has no meaning.
        log_prob: (B, K); -inf marks a place that no hypothesis took.
        cut: (B, K) whether the maximum length cut it off.
        eos_id: the end-of-sentence token's id.
        length_penalty: see `Hypothesis.score`.

    Returns:
        Each sentence's hypotheses, the best first.

    Raises:
        UserError: where there is none, which only log-probabilities of NaN bring about.
    """
    sentences = []
    for places in zip(tokens[..., 1:].tolist(), log_prob.tolist(), cut.tolist(), strict=True):
        found = []
        for row, total, was_cut in zip(*places, strict=True):
            if total > -math.inf:  # which NaN is not
                written = row[: row.index(eos_id)]
                score = total / (len(written) + 1) ** length_penalty
                found.append(Hypothesis(written, total, score, finished=not was_cut))
        if not found:
            raise UserError(
                "nothing can be decoded: the model's logits are NaN. Either its weights are, then "
                "take an earlier checkpoint; or its attention gives NaN where a query sees no key, "
                "as torch's can under a mask of one's own"
            )
        sentences.append(sorted(found, key=lambda hypothesis: -hypothesis.score))
    return sentences
