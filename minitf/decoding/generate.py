"""From source tokens to hypotheses: the one entry to every search.

Shapes: B sentences, S source length.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from minitf.attention.kernels.fused import suited_to_batches
from minitf.config.schema import DecodingConfig, DecodingMethod
from minitf.decoding.beam import search_beam
from minitf.decoding.constraints import Constraints
from minitf.decoding.hypothesis import Hypothesis
from minitf.decoding.limits import limits_of
from minitf.decoding.options import check_options, checked_prefixes
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
        UserError: for an option out of range, a source without a token, a prefix that holds a
            special token or does not suit the batch, and logits that are not numbers.
    """
    config = config if config is not None else DecodingConfig()
    check_options(config)
    if src.size(0) == 0:
        return []
    prefixes = checked_prefixes(prefix, src.size(0), {pad_id, bos_id, eos_id}, model.vocab_size)
    limits = limits_of(model, src, config, prefixes, pad_id=pad_id, eos_id=eos_id)
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
        with suited_to_batches(src.device):
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
