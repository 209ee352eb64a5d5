"""Beam search (Sutskever et al. 2014, section 3.2), all sentences and beams in the same tensors.

At each step the 2K likeliest continuations of a sentence's K live hypotheses are looked at: those
among the first K that end with EOS are finished, and the likeliest K that do not end live on. 2K
are always enough, because each live hypothesis has but one continuation by EOS. At first there is
one live hypothesis, BOS, and one row to compute for each sentence.

Shapes: B sentences, K beam size, V vocabulary, L longest target, t tokens so far, BOS counted.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minitf.config.schema import DecodingConfig, EarlyStopping
from minitf.decoding.constraints import NEVER, Constraints
from minitf.decoding.hypothesis import Hypothesis, make_hypotheses
from minitf.decoding.leaving import finished_sentences, split
from minitf.decoding.stepper import Stepper
from minitf.decoding.top import best_continuations


@dataclass(frozen=True)
class Places:
    """Hypotheses of each sentence, the best first; an empty place has -inf twice."""

    tokens: Tensor
    """(B, places, L) BOS first."""
    log_prob: Tensor
    """(B, places) what the model says."""
    score: Tensor
    """(B, places) the same by length, which finished ones are ranked by."""
    cut: Tensor
    """(B, places) whether the maximum length cut it off."""

    def select(self, index: Tensor) -> "Places":
        """Each sentence's places `index`, (B, k)."""
        whole = index.unsqueeze(-1).expand(-1, -1, self.tokens.size(-1))
        return Places(
            self.tokens.gather(1, whole),
            self.log_prob.gather(1, index),
            self.score.gather(1, index),
            self.cut.gather(1, index),
        )

    def keep_sentences(self, kept: Tensor) -> "Places":
        """These sentences' places."""
        return Places(self.tokens[kept], self.log_prob[kept], self.score[kept], self.cut[kept])


def search_beam(
    stepper: Stepper, constraints: Constraints, config: DecodingConfig, *, bos_id: int
) -> list[list[Hypothesis]]:
    """Find each sentence's likeliest targets.

    Args:
        stepper: the model and the sources.
        constraints: what may be written.
        config: beam_size, n_best, length_penalty, early_stopping.
        bos_id: the begin-of-sentence token's id.

    Returns:
        At most n_best hypotheses for each sentence, the best first.
    """
    device, K = constraints.device, config.beam_size
    sentences = list(range(len(constraints.limits.max_length)))
    results: list[list[Hypothesis]] = [[] for _ in sentences]
    steps = max(constraints.limits.max_length) + 1
    # A vocabulary that has no 2K tokens takes K rows from the start, all but one of them dead.
    first = 1 if stepper.model.vocab_size >= 2 * K else K
    live = _start(len(sentences), first, steps + 1, stepper.dtype, constraints, bos_id)
    finished = _empty(len(sentences), K, steps + 1, stepper.dtype, constraints)
    done = torch.zeros(len(sentences), device=device, dtype=torch.bool)

    for step in range(steps):
        candidates, parents = _candidates(stepper, live, constraints, step, config)
        ends = candidates.tokens[..., step + 1] == constraints.eos_id
        finished = _finish(finished, candidates, ends & ~done.unsqueeze(1))
        going_on = candidates.log_prob.masked_fill(ends, NEVER).topk(K, dim=1)
        rows = torch.arange(len(sentences), device=device).unsqueeze(1) * live.log_prob.size(1)
        rows = rows + parents.gather(1, going_on.indices)
        live = replace(candidates.select(going_on.indices), log_prob=going_on.values)
        done |= _is_done(live, finished, constraints, step, config)

        ended = finished_sentences(done, step, last=step + 1 == steps)
        if ended is None:
            stepper.reorder_targets(rows.flatten())
            continue
        leaving, left, staying, kept = split(ended, device)
        found = finished.keep_sentences(left)
        best = make_hypotheses(
            found.tokens, found.log_prob, found.cut, constraints.eos_id, config.length_penalty
        )
        for i, hypotheses in zip(leaving, best, strict=True):
            results[sentences[i]] = hypotheses[: config.n_best]
        if not staying:
            break
        stepper.keep_sentences(kept, rows[kept].flatten())
        constraints.keep_sentences(staying, kept)
        sentences = [sentences[i] for i in staying]
        live, finished = live.keep_sentences(kept), finished.keep_sentences(kept)
        done = done[kept]
    return results


def _start(
    B: int, places: int, L: int, dtype: torch.dtype, constraints: Constraints, bos_id: int
) -> Places:
    """One live hypothesis, BOS, in the first place."""
    live = _empty(B, places, L, dtype, constraints)
    live.tokens[..., 0] = bos_id
    live.log_prob[:, 0] = 0.0
    return live


def _empty(B: int, places: int, L: int, dtype: torch.dtype, constraints: Constraints) -> Places:
    """Places that nothing has taken."""
    device = constraints.device
    return Places(
        tokens=torch.full((B, places, L), constraints.pad_id, device=device),
        log_prob=torch.full((B, places), NEVER, device=device, dtype=dtype),
        score=torch.full((B, places), NEVER, device=device, dtype=dtype),
        cut=torch.zeros(B, places, device=device, dtype=torch.bool),
    )


def _candidates(
    stepper: Stepper, live: Places, constraints: Constraints, step: int, config: DecodingConfig
) -> tuple[Places, Tensor]:
    """The 2K likeliest continuations, and the live place (B, 2K) that each continues."""
    K = config.beam_size
    so_far = live.tokens[..., : step + 1]
    next_log_prob = stepper.next_log_prob(so_far)
    cut = constraints.cut_off(next_log_prob, step)
    constraints.apply(next_log_prob, so_far)
    log_prob, parents, token = best_continuations(next_log_prob, live.log_prob, 2 * K)
    candidates = replace(
        live.select(parents),
        log_prob=log_prob,
        score=log_prob / (step + 1) ** config.length_penalty,
    )
    candidates.tokens[..., step + 1] = token
    if cut is not None:
        candidates = replace(candidates, cut=cut.gather(1, parents))
    return candidates, parents


def _finish(finished: Places, candidates: Places, ends: Tensor) -> Places:
    """Take in what ends among the K likeliest candidates, and keep the K best."""
    K = finished.log_prob.size(1)
    first = candidates.select(torch.arange(K, device=ends.device).expand(ends.size(0), K))
    ends = ends[:, :K]
    both = Places(
        torch.cat([finished.tokens, first.tokens], dim=1),
        torch.cat([finished.log_prob, first.log_prob.masked_fill(~ends, NEVER)], dim=1),
        torch.cat([finished.score, first.score.masked_fill(~ends, NEVER)], dim=1),
        torch.cat([finished.cut, first.cut], dim=1),
    )
    return both.select(both.score.topk(K, dim=1).indices)


def _is_done(
    live: Places, finished: Places, constraints: Constraints, step: int, config: DecodingConfig
) -> Tensor:
    """(B,) True where the rule of `early_stopping` ends the search, or nothing is left to search.

    `live` holds step + 1 tokens behind BOS; with EOS they would be one more.
    """
    best = live.log_prob[:, 0]
    worst = finished.score[:, -1]  # -inf until K have finished
    rule = EarlyStopping(config.early_stopping)
    if rule is EarlyStopping.first:
        return (worst > NEVER) | (best == NEVER)
    if rule is EarlyStopping.heuristic:
        reachable = best / (step + 1) ** config.length_penalty
    elif config.length_penalty > 0:
        # A log-probability only falls, so at its best it stays and is divided by the most.
        reachable = best / (constraints.max_length + 1) ** config.length_penalty
    else:
        reachable = best / (step + 2) ** config.length_penalty
    out_of_reach: Tensor = reachable <= worst
    return out_of_reach
