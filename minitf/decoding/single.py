"""Greedy search and sampling: each row writes one token after the other, and none comes back.

Shapes: B sentences, K rows per sentence (1 unless several samples are wanted), V vocabulary, t
tokens so far.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from minitf.decoding.constraints import Constraints
from minitf.decoding.hypothesis import Hypothesis, score_of
from minitf.decoding.stepper import Stepper

CHECK_EVERY = {"cpu": 1}
"""Steps between two looks at which sentences are finished; each look waits for the device."""
CHECK_EVERY_ELSEWHERE = 8
LEAVE_SHARE = 0.25
"""Finished sentences leave the batch once they are this share of it; leaving copies the caches."""


def search_single(
    stepper: Stepper,
    constraints: Constraints,
    choose: Callable[[Tensor, list[int], int], Tensor],
    *,
    rows_per_sentence: int,
    bos_id: int,
    length_penalty: float,
) -> list[list[Hypothesis]]:
    """Let every row choose a token at a time until it chooses EOS.

    Args:
        stepper: the model and the sources.
        constraints: what may be written.
        choose: from logits (B, K, V), the sentences' numbers in the batch and the number of tokens
            so far to the next tokens (B, K).
        rows_per_sentence: K.
        bos_id: the begin-of-sentence token's id.
        length_penalty: see `Hypothesis.score`.

    Returns:
        K hypotheses for each sentence, the best first.
    """
    eos_id, pad_id, device = constraints.eos_id, constraints.pad_id, constraints.device
    sentences = list(range(len(constraints.limits.max_length)))
    results: list[list[Hypothesis]] = [[] for _ in sentences]
    steps = max(constraints.limits.max_length, default=-1) + 1
    shape = (len(sentences), rows_per_sentence)
    tokens = torch.full((*shape, steps + 1), pad_id, device=device)
    tokens[..., 0] = bos_id
    log_prob = torch.zeros(shape, device=device, dtype=torch.float64)
    done = torch.zeros(shape, device=device, dtype=torch.bool)
    cut = torch.zeros(shape, device=device, dtype=torch.bool)

    for step in range(steps):
        so_far = tokens[..., : step + 1]
        logits = stepper.next_logits(so_far.flatten(0, 1))
        logits = logits.view(len(sentences), rows_per_sentence, -1)
        normaliser = logits.logsumexp(-1)
        cut_now = constraints.cut_off(logits, step)
        chosen = choose(constraints.apply(logits, so_far), sentences, step)
        gain = logits.gather(-1, chosen.unsqueeze(-1)).squeeze(-1) - normaliser
        log_prob += gain.double().masked_fill(done, 0.0)
        if cut_now is not None:
            cut |= cut_now & ~done
        tokens[..., step + 1] = chosen.masked_fill(done, pad_id)
        done |= chosen == eos_id

        last = step + 1 == steps
        if not last and (step + 1) % CHECK_EVERY.get(device.type, CHECK_EVERY_ELSEWHERE):
            continue
        ended = done.all(1).tolist()
        if not last and sum(ended) < max(1, LEAVE_SHARE * len(ended)):
            continue
        leaving = [i for i, end in enumerate(ended) if end]
        index = torch.tensor(leaving, device=device)
        found = (tokens[index, :, 1:], log_prob[index], cut[index])
        for i, row in zip(leaving, zip(*(t.tolist() for t in found), strict=True), strict=True):
            results[sentences[i]] = _hypotheses(row, eos_id, length_penalty)
        staying = [i for i, end in enumerate(ended) if not end]
        if not staying:
            break
        sentences = [sentences[i] for i in staying]
        index = torch.tensor(staying, device=device)
        rows = torch.arange(done.numel(), device=device).view_as(done)[index].flatten()
        stepper.keep_sentences(index, rows)
        constraints.keep_sentences(staying, index)
        tokens, log_prob, done, cut = tokens[index], log_prob[index], done[index], cut[index]
    return results


def greedy(logits: Tensor, sentences: list[int], step: int) -> Tensor:
    """The likeliest token."""
    return logits.argmax(-1)


def _hypotheses(
    row: tuple[list[list[int]], list[float], list[bool]], eos_id: int, length_penalty: float
) -> list[Hypothesis]:
    """One sentence's rows as hypotheses, the best first."""
    found = []
    for tokens, log_prob, cut in zip(*row, strict=True):
        written = tokens[: tokens.index(eos_id)]
        if math.isnan(log_prob):
            raise ValueError("the model's logits are not numbers (NaN): its weights are broken")
        score = score_of(log_prob, len(written) + 1, length_penalty)
        found.append(Hypothesis(written, log_prob, score, finished=not cut))
    return sorted(found, key=lambda hypothesis: -hypothesis.score)
