"""Random choice of the next token, the same for a sentence in whatever batch it stands.

Shapes: B sentences, K samples per sentence, V vocabulary.
"""

import hashlib

import torch
from torch import Tensor

from minitf.config.schema import DecodingConfig


class Sampler:
    """Draws a token with probability softmax(logits / temperature), less the unlikely ones.

    Each sample has its own random numbers, drawn from `seed`, the source's tokens and the sample's
    number; a number picks the token at which the summed probability passes it. So neither the
    batch, nor its order, nor the device changes a sample (rounding aside); and the same sentence
    twice in a data set gets the same samples, unless the seed is another.

    Args:
        src: (B, S) the first batch's sources.
        samples: K.
        steps: the most tokens that any sample may have, EOS counted.
        config: temperature, top_k, top_p, seed.
        pad_id: the padding token's id.
    """

    def __init__(
        self, src: Tensor, samples: int, steps: int, config: DecodingConfig, *, pad_id: int
    ) -> None:
        self.config = config
        sources = [[token for token in row if token != pad_id] for row in src.tolist()]
        uniform = [
            [_uniform(config.seed, source, sample, steps) for sample in range(samples)]
            for source in sources
        ]
        numbers = torch.stack([torch.stack(rows) for rows in uniform])  # (B, K, steps)
        if src.device.type not in ("cpu", "cuda"):  # no float64; 1 must not come out of rounding
            numbers = numbers.float().clamp(max=1.0 - 2.0**-24)
        self.uniform = numbers.to(src.device)

    def __call__(self, log_prob: Tensor, step: int) -> Tensor:
        """Next tokens (B, K) from log-probabilities (B, K, V); -inf is what may not be written."""
        return choose(log_prob, self.uniform[..., step], self.config)

    def keep_sentences(self, kept: Tensor) -> None:
        """Go on with these sentences alone."""
        self.uniform = self.uniform.index_select(0, kept)


def choose(log_prob: Tensor, uniform: Tensor, config: DecodingConfig) -> Tensor:
    """The tokens at which the summed probability passes `uniform`.

    Args:
        log_prob: (B, K, V), up to a constant in each row.
        uniform: (B, K) numbers from 0 to below 1.
        config: temperature, top_k (Fan et al. 2018) and top_p (Holtzman et al. 2020).
    """
    logits = log_prob.to(uniform.dtype) / config.temperature
    tokens = None
    if config.top_k > 0 or config.top_p < 1.0:
        kept = min(config.top_k or logits.size(-1), logits.size(-1))
        logits, tokens = logits.topk(kept, dim=-1)  # sorted
    probability = logits.softmax(-1)
    cumulative = _summed(probability)
    if config.top_p < 1.0:
        # The likeliest tokens whose sum reaches top_p: those before which it was not reached yet.
        probability = probability.masked_fill(cumulative - probability >= config.top_p, 0.0)
        cumulative = _summed(probability)
    goal = uniform.unsqueeze(-1) * cumulative[..., -1:]
    position = (cumulative <= goal).sum(-1, keepdim=True)
    return (position if tokens is None else tokens.gather(-1, position)).squeeze(-1)


def _summed(probability: Tensor) -> Tensor:
    """Sums up to each token; those of a GPU have no fixed order, which `deterministic` refuses."""
    if probability.device.type != "cpu" and torch.are_deterministic_algorithms_enabled():
        return probability.cpu().cumsum(-1).to(probability.device)
    return probability.cumsum(-1)


def _uniform(seed: int, source: list[int], sample: int, steps: int) -> Tensor:
    text = repr((seed, sample, source)).encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big")
    generator = torch.Generator().manual_seed(number)
    return torch.rand(steps, generator=generator, dtype=torch.float64)
