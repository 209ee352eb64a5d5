"""Label-smoothed cross-entropy, summed over the target tokens that count.

With V classes, logits z and smoothing ε (Szegedy et al. 2016, section 7), a token y costs

    log Σ_v exp(z_v) - (1 - ε)·z_y - ε/V·Σ_v z_v,

which is torch's `cross_entropy(…, label_smoothing=ε)`: the ε is spread over all V, y included.

Shapes: N tokens, E embed_dim, V vocabulary.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


class LossSums(NamedTuple):
    """Sums over the tokens that are not padding, in nats; divide by their number."""

    loss: Tensor
    """What training minimises."""
    nll: Tensor
    """Negative log-likelihood without smoothing, detached: perplexity is exp of its mean."""


def label_smoothed_cross_entropy(
    logits: Float[Tensor, "*N V"],
    target: Int[Tensor, "*N"],
    *,
    label_smoothing: float = 0.0,
    pad_id: int = 0,
) -> LossSums:
    """Cross-entropy of logits that exist already.

    Args:
        logits: unnormalised scores; half precision is summed in float32.
        target: the right tokens; `pad_id` is left out.
        label_smoothing: ε, from 0 to below 1.
        pad_id: the padding token's id.

    Raises:
        ValueError: for an ε out of range.
    """
    _check_label_smoothing(label_smoothing)
    logits = logits.reshape(-1, logits.size(-1))
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    target = target.reshape(-1)
    nll = F.cross_entropy(logits, target, ignore_index=pad_id, reduction="sum")
    if label_smoothing == 0.0:
        return LossSums(nll, nll.detach())
    uniform = _mean_negative_log_probability(logits, target, pad_id)
    return LossSums((1.0 - label_smoothing) * nll + label_smoothing * uniform, nll.detach())


def _mean_negative_log_probability(logits: Tensor, target: Tensor, pad_id: int) -> Tensor:
    per_token = logits.logsumexp(dim=-1) - logits.mean(dim=-1)
    return per_token.masked_fill(target == pad_id, 0.0).sum()


def _check_label_smoothing(label_smoothing: float) -> None:
    if not 0.0 <= label_smoothing < 1.0:
        raise ValueError(
            f"objective.label_smoothing must be at least 0 and below 1, got {label_smoothing}"
        )
