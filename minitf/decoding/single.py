"""Greedy search and sampling: each row writes one token after the other, and none is taken back.

Shapes: B sentences, K rows per sentence (1 unless several samples are wanted), V vocabulary, t
tokens so far, BOS counted.
"""

from typing import Protocol

import torch
from torch import Tensor

from minitf.decoding.constraints import Constraints
from minitf.decoding.hypothesis import Hypothesis, make_hypotheses
from minitf.decoding.leaving import finished_sentences, split
from minitf.decoding.stepper import Stepper
from minitf.decoding.top import argmax


class Chooser(Protocol):
    """How the next tokens are chosen."""

    def __call__(self, log_prob: Tensor, step: int) -> Tensor:
        """Next tokens (B, K) from log-probabilities (B, K, V); -inf is what may not be written."""

    def keep_sentences(self, kept: Tensor) -> None:
        """Go on with these sentences alone."""


class Greedy:
    """The likeliest token."""

    def __call__(self, log_prob: Tensor, step: int) -> Tensor:
        """See `Chooser`."""
        return argmax(log_prob)

    def keep_sentences(self, kept: Tensor) -> None:
        """There is nothing to keep."""


def search_single(
    stepper: Stepper,
    constraints: Constraints,
    choose: Chooser,
    *,
    rows_per_sentence: int,
    bos_id: int,
    length_penalty: float,
) -> list[list[Hypothesis]]:
    """Let every row choose one token at a time until it chooses EOS.

    Args:
        stepper: the model and the sources.
        constraints: what may be written.
        choose: how a token is chosen.
        rows_per_sentence: K.
        bos_id: the begin-of-sentence token's id.
        length_penalty: see `Hypothesis.score`.

    Returns:
        K hypotheses for each sentence, the best first.
    """
    eos_id, pad_id, device = constraints.eos_id, constraints.pad_id, constraints.device
    sentences = list(range(len(constraints.limits.max_length)))
    results: list[list[Hypothesis]] = [[] for _ in sentences]
    steps = max(constraints.limits.max_length) + 1
    shape = (len(sentences), rows_per_sentence)
    tokens = torch.full((*shape, steps + 1), pad_id, device=device)
    tokens[..., 0] = bos_id
    log_prob = torch.zeros(shape, device=device, dtype=stepper.dtype)
    done = torch.zeros(shape, device=device, dtype=torch.bool)
    cut = torch.zeros(shape, device=device, dtype=torch.bool)

    for step in range(steps):
        so_far = tokens[..., : step + 1]
        next_log_prob = stepper.next_log_prob(so_far)
        cut_now = constraints.cut_off(next_log_prob, step)
        chosen = choose(constraints.apply(next_log_prob, so_far), step)
        gain = next_log_prob.gather(-1, chosen.unsqueeze(-1)).squeeze(-1)
        del next_log_prob  # the next ones take its memory, which is still in the cache
        log_prob += gain.masked_fill(done, 0.0)
        if cut_now is not None:
            cut |= cut_now & ~done
        tokens[..., step + 1] = chosen.masked_fill(done, pad_id)
        done |= chosen == eos_id

        ended = finished_sentences(done.all(1), step, last=step + 1 == steps)
        if ended is None:
            continue
        leaving, left, staying, kept = split(ended, device)
        found = make_hypotheses(tokens[left], log_prob[left], cut[left], eos_id, length_penalty)
        for i, hypotheses in zip(leaving, found, strict=True):
            results[sentences[i]] = hypotheses
        if not staying:
            break
        rows = torch.arange(done.numel(), device=device).view_as(done)[kept].flatten()
        stepper.keep_sentences(kept, rows)
        constraints.keep_sentences(staying, kept)
        choose.keep_sentences(kept)
        sentences = [sentences[i] for i in staying]
        tokens, log_prob, done, cut = tokens[kept], log_prob[kept], done[kept], cut[kept]
    return results
