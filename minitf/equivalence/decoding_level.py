"""Level 4: decoding with trained weights, greedy and beam, with the cache and without.

Tokens alone are a blunt measure: a broken cache can leave them as they are, and a tie can change
them. So beside the tokens stands what each search believes of them: the log-probability that it
accumulated step by step, against the oracle's of the same tokens in one pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minitf.config.schema import DecodingConfig, DecodingMethod, ModelConfig
from minitf.decoding import Hypothesis, generate
from minitf.equivalence.implementations import Implementation
from minitf.equivalence.models import build, in_dtype, loss_of, truth_and_rounded
from minitf.equivalence.task import BOS, EOS, PAD, Task, collate
from minitf.equivalence.verdict import (
    FACTOR,
    TensorVerdict,
    Verdict,
    cannot_be_run,
    failed,
    judge,
    raised,
    worst,
)
from minitf.model import Transformer

SEARCHES_UNDER_ROUNDING = 6


@dataclass(frozen=True)
class Difference:
    """The first token at which two searches part, and whether it was a tie."""

    sentence: int
    position: int
    """Of the differing token, from 0."""
    reference_token: str
    candidate_token: str
    margin: float
    """By how much the oracle prefers one of the two, in nats."""
    rounding: float
    """How far rounding moves the difference of the two logits there, in nats."""
    search_is_undecided: bool
    """Whether the oracle's own search, repeated under random rounding, ends otherwise too: a beam
    may part at a tie that came earlier than the first token that differs."""

    @property
    def is_tie(self) -> bool:
        """Whether rounding explains the choice."""
        return self.margin <= self.rounding or self.search_is_undecided


@dataclass(frozen=True)
class SearchResult:
    """One search of the candidate beside the reference's."""

    name: str
    """Such as "greedy, cached"."""
    sentences: int
    identical: int
    """Sentences whose tokens are the reference's."""
    first_difference: Difference | None
    log_probs: TensorVerdict
    """What the search believes of its hypotheses, judged by the rule of the op level."""

    @property
    def verdict(self) -> Verdict:
        """Different tokens count as rounding only at a tie, which only the formula can tell."""
        difference = self.first_difference
        if difference is not None and self.log_probs.by_reference:
            return Verdict.not_run
        if difference is not None and not difference.is_tie:
            return Verdict.different
        return worst([self.log_probs.verdict, *([Verdict.within_rounding] if difference else [])])

    @property
    def finding(self) -> str:
        """One line where the search is wrong, or cannot be judged."""
        if self.verdict is Verdict.not_run:
            return f"{self.name}: other tokens, and the oracle cannot tell whether at a tie"
        if self.log_probs.verdict is Verdict.different:
            return f"{self.name}: log-probabilities of its own output: {self.log_probs.reason}"
        d = self.first_difference
        if d is None or d.is_tie:
            return ""
        return (
            f"{self.name}: sentence {d.sentence}, token {d.position} is {d.candidate_token!r}, "
            f"not {d.reference_token!r}, though {d.margin:.2g} nats lie between "
            f"(rounding: {d.rounding:.2g})"
        )


def train_weights(
    reference: Implementation,
    config: ModelConfig,
    task: Task,
    device: torch.device,
    seed: int,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float = 2e-3,
) -> dict[str, Tensor]:
    """Weights of the reference after a short training, for decoding that is not mere noise."""
    torch.manual_seed(seed)
    model = build(config, reference, task.vocab_size).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.98), eps=1e-9)
    for number, (src, tgt) in enumerate(task.batches(steps, batch_size, seed)):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1.0, (number + 1) / max(1, steps // 10))
        try:
            loss, _ = loss_of(model, (src.to(device), tgt.to(device)))
        except Exception as error:
            raise cannot_be_run("reference", error) from error
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return {name: x.detach().clone() for name, x in model.state_dict().items()}


def run_decoding_level(
    reference: Implementation,
    candidate: Implementation,
    config: ModelConfig,
    task: Task,
    weights: dict[str, Tensor],
    dtype: torch.dtype,
    device: torch.device,
    seed: int,
    *,
    sentences: int,
    beam_size: int = 4,
) -> list[SearchResult]:
    """Decode held-out sentences with both, by each search; the candidate with and without cache."""
    weights = in_dtype(weights, dtype)
    src = collate(task.held_out[:sentences])[0].to(device)

    def model(side: Implementation) -> Transformer:
        return build(config, side, task.vocab_size, weights).to(device, dtype).eval()

    truth, noisy = truth_and_rounded(
        config, reference, weights, task.vocab_size, dtype, device, seed
    )
    judges = _Judges(task, src, truth.eval(), [model.eval() for model in noisy], dtype)
    uncached = model(candidate)
    uncached.new_state = lambda: None  # type: ignore[method-assign]
    variants = {"recomputed": uncached}
    if model(candidate).new_state() is not None:
        variants = {"cached": model(candidate)} | variants
    results = []
    for search in (DecodingMethod.greedy, DecodingMethod.beam):
        # A little-trained model may end at once; a minimum makes the cache work for its verdict.
        options = DecodingConfig(
            method=search,
            beam_size=beam_size,
            min_length=5,
            min_length_ratio=0.8,
            max_length_extra=5,
        )
        try:
            wanted = _search(model(reference), src, options)
        except Exception as error:
            raise cannot_be_run("reference", error) from error
        for name, variant in variants.items():
            try:
                received = _search(variant, src, options)
            except Exception as error:  # whatever a candidate raises is its finding
                verdict = failed("log-probabilities", raised(error))
                results.append(SearchResult(f"{search.value}, {name}", len(src), 0, None, verdict))
                continue
            results.append(judges.result(f"{search.value}, {name}", received, wanted, options))
    return results


def _search(model: Transformer, src: Tensor, config: DecodingConfig) -> list[Hypothesis]:
    found = generate(model, src, bos_id=BOS, eos_id=EOS, pad_id=PAD, config=config)
    return [hypotheses[0] for hypotheses in found]


class _Judges:
    """The oracle's opinion of what searches wrote."""

    def __init__(
        self,
        task: Task,
        src: Tensor,
        truth: Transformer,
        noisy: Sequence[Transformer],
        dtype: torch.dtype,
    ) -> None:
        self.task, self.src, self.truth, self.noisy = task, src, truth, noisy
        self.dtype = torch.promote_types(dtype, torch.float32)  # that a search adds up in

    def result(
        self,
        name: str,
        received: list[Hypothesis],
        wanted: list[Hypothesis],
        options: DecodingConfig,
    ) -> SearchResult:
        log_probs = judge(
            "log-probabilities",
            torch.tensor([h.log_prob for h in received], dtype=self.dtype),
            torch.tensor([h.log_prob for h in wanted], dtype=self.dtype),
            self._log_probs(self.truth, received),
            [self._log_probs(model, received) for model in self.noisy],
            self._log_probs(self.truth, wanted),
        )
        pairs = list(zip(received, wanted, strict=True))
        differing = [i for i, (a, b) in enumerate(pairs) if a.tokens != b.tokens]
        first = None
        for i in differing:  # the first that is no tie, else the first
            found = self._difference(i, *pairs[i], options)
            first = first or found
            if not found.is_tie:
                first = found
                break
        return SearchResult(name, len(pairs), len(pairs) - len(differing), first, log_probs)

    @torch.no_grad()
    def _log_probs(self, model: Transformer, hypotheses: list[Hypothesis]) -> Tensor:
        """Sums log P(tokens, EOS | source) of each, in one pass."""
        tgt = collate([([], h.tokens) for h in hypotheses])[1].to(self.src.device)
        logits: Tensor = model(self.src, tgt[:, :-1]).log_softmax(-1)
        picked = logits.gather(-1, tgt[:, 1:, None])[..., 0]
        return picked.masked_fill(tgt[:, 1:] == PAD, 0.0).sum(-1).cpu()

    @torch.no_grad()
    def _difference(
        self, sentence: int, received: Hypothesis, wanted: Hypothesis, options: DecodingConfig
    ) -> Difference:
        a, b = [*received.tokens, EOS], [*wanted.tokens, EOS]
        position = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
        src = self.src[sentence : sentence + 1]
        prefix = torch.tensor([[BOS, *a[:position]]], device=src.device)

        def gap(model: Transformer) -> float:
            logits = model(src, prefix)[0, -1]
            return float(logits[a[position]] - logits[b[position]])

        decided = _search(self.truth, src, options)[0].tokens
        again = [
            _search(self.noisy[i % len(self.noisy)], src, options)[0].tokens
            for i in range(SEARCHES_UNDER_ROUNDING)
        ]
        margin = gap(self.truth)
        moved = max(abs(gap(model) - margin) for model in self.noisy)
        return Difference(
            sentence,
            position,
            self._shown(b[position]),
            self._shown(a[position]),
            abs(margin),
            (FACTOR + 1) * moved,
            any(tokens != decided for tokens in again),
        )

    def _shown(self, token: int) -> str:
        return "end of sentence" if token == EOS else self.task.show([token])
