"""From source tokens to hypotheses: the one entry to every search.

Shapes: B sentences, S source length.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from minitf.config import UserError
from minitf.config.schema import DecodingConfig, DecodingMethod
from minitf.decoding.beam import search_beam
from minitf.decoding.constraints import Constraints, Limits
from minitf.decoding.hypothesis import Hypothesis
from minitf.decoding.sampling import Sampler
from minitf.decoding.single import Chooser, Greedy, search_single
from minitf.decoding.stepper import Stepper
from minitf.model import Transformer


@torch.no_grad()
def generate(
    model: Transformer,
    src: Tensor,
    *,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    config: DecodingConfig | None = None,
    prefix: Sequence[Sequence[int]] | None = None,
) -> list[list[Hypothesis]]:
    """Translate a batch.

    What a sentence gets depends on nothing else in its batch (ties and rounding aside), sampling
    included. The model is put in evaluation mode meanwhile.

    Args:
        model: any `Transformer`; one whose attention takes no cache writes the same, more slowly.
        src: (B, S) source tokens, EOS last, padded on the right; on the model's device.
        bos_id: the begin-of-sentence token's id.
        eos_id: the end-of-sentence token's id.
        pad_id: the padding token's id.
        config: the search; None: greedy.
        prefix: for each sentence the tokens that its target must begin with, without BOS.

    Returns:
        For each sentence its `n_best` hypotheses, the best first; fewer where a beam search ended
        with fewer.

    Raises:
        UserError: for an option out of range, a source without a token, or a prefix that holds a
            special token or does not suit the batch.
        ValueError: where the model's logits are not numbers.
    """
    config = config if config is not None else DecodingConfig()
    check_options(config)
    if src.size(0) == 0:
        return []
    prefixes = _checked_prefixes(prefix, src.size(0), {pad_id, bos_id, eos_id}, model.vocab_size)
    limits = _limits(model, src, config, prefixes, pad_id=pad_id, eos_id=eos_id)
    constraints = Constraints(
        limits,
        prefixes,
        config.no_repeat_ngram,
        pad_id=pad_id,
        bos_id=bos_id,
        eos_id=eos_id,
        device=src.device,
    )
    was_training = model.training
    model.eval()
    try:
        stepper = Stepper(model, src)
        method = DecodingMethod(config.method)
        if method is DecodingMethod.beam:
            return search_beam(stepper, constraints, config, bos_id=bos_id)
        choose: Chooser = Greedy()
        if method is DecodingMethod.sample:
            steps = max(limits.max_length) + 1
            choose = Sampler(src, config.n_best, steps, config, pad_id=pad_id)
        return search_single(
            stepper,
            constraints,
            choose,
            rows_per_sentence=config.n_best,
            bos_id=bos_id,
            length_penalty=config.length_penalty,
        )
    finally:
        model.train(was_training)


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
    }
    for name, lowest in at_least.items():
        if not getattr(config, name) >= lowest:
            raise UserError(
                f"decoding.{name} must be at least {lowest}, got {getattr(config, name)}"
            )
    if not config.temperature > 0:
        raise UserError(
            f"decoding.temperature must be above 0, got {config.temperature}; "
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


def _checked_prefixes(
    prefix: Sequence[Sequence[int]] | None, batch: int, special: set[int], vocab_size: int
) -> list[list[int]]:
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


def _limits(
    model: Transformer,
    src: Tensor,
    config: DecodingConfig,
    prefixes: list[list[int]],
    *,
    pad_id: int,
    eos_id: int,
) -> Limits:
    """Lengths from the sources' own (EOS counted in neither), prefix and positions permitting."""
    real = src != pad_id
    for number, any_token in enumerate(real.any(1).tolist()):
        if not any_token:
            raise UserError(
                f"every source needs at least its end-of-sentence token, sentence {number} is "
                f"all padding"
            )
    # The last of n tokens is read at position n, BOS standing at 0.
    most = model.max_positions - 1 if model.max_positions is not None else None
    minima, maxima = [], []
    for length, forced in zip((real & (src != eos_id)).sum(1).tolist(), prefixes, strict=True):
        longest = int(config.max_length_ratio * length + config.max_length_extra)
        longest = max(longest, len(forced))
        if most is not None:
            longest = min(longest, most)
            if len(forced) > most:
                raise UserError(
                    f"model.positions=learned has vectors for {model.max_positions} positions, "
                    f"too few for a forced prefix of {len(forced)} tokens"
                )
        shortest = max(config.min_length, int(config.min_length_ratio * length))
        maxima.append(longest)
        minima.append(min(shortest, longest))
    return Limits(minima, maxima)
