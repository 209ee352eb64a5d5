import functools

import pytest
import torch
from plain_attention import DropsPaddingInCrossAttention, PlainAttention

from minitf.attention import MultiHeadAttention
from minitf.config.schema import ModelConfig
from minitf.equivalence.decoding_level import Difference, run_decoding_level, train_weights
from minitf.equivalence.implementations import Implementation, resolve
from minitf.equivalence.planted_bugs import BUGS
from minitf.equivalence.summaries import summarize_decoding
from minitf.equivalence.task import letters_task
from minitf.equivalence.verdict import Verdict

CPU = torch.device("cpu")
TORCH, CUSTOM = resolve("reference", "torch"), resolve("candidate", "custom")
CONFIG = ModelConfig(
    embed_dim=22, num_heads=2, num_encoder_layers=1, num_decoder_layers=1, feedforward_dim=31
)


@functools.cache
def weights(seed):
    task = letters_task(seed)
    return train_weights(TORCH, CONFIG, task, CPU, seed, steps=60, batch_size=16)


def run(candidate, dtype=torch.float32, seed=3, reference=TORCH):
    return run_decoding_level(
        reference,
        candidate,
        CONFIG,
        letters_task(seed),
        weights(seed),
        dtype,
        CPU,
        seed,
        sentences=7,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_custom_decodes_as_torch_does_with_and_without_cache(dtype):
    results = run(CUSTOM, dtype)
    assert [r.name for r in results] == [
        "greedy, cached", "greedy, recomputed", "beam, cached", "beam, recomputed",
    ]  # fmt: skip
    assert all(r.verdict.equivalent for r in results), [r.finding for r in results]
    if dtype != torch.bfloat16:
        assert all(r.identical == 7 for r in results)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("seed", [1, 2])
def test_another_summation_order_is_no_bug(dtype, seed):
    results = run(Implementation("plain", PlainAttention), dtype, seed)
    assert [r.name for r in results] == ["greedy, recomputed", "beam, recomputed"]
    assert all(r.verdict.equivalent for r in results), [r.finding for r in results]


def test_a_bug_is_told_by_the_log_probabilities():
    results = run(Implementation("buggy", DropsPaddingInCrossAttention))
    assert all(r.verdict is Verdict.different for r in results)
    report = summarize_decoding(results, torch.float32)
    assert "log-probabilities of its own output" in report.findings[0]


class Scaled(MultiHeadAttention):
    """Off by less than float32 can tell."""

    def forward(self, *args, **options):
        output, weights = super().forward(*args, **options)
        return output * (1 + 1e-9), weights


def test_in_float64_log_probabilities_are_judged_in_float64():
    for result in run(Implementation("scaled", Scaled), torch.float64):
        assert result.log_probs.verdict is Verdict.different
        assert result.identical == 7


@pytest.mark.parametrize(
    "name", ["cache position is one too low", "cached keys stay when beams are reordered"]
)
def test_a_broken_cache_is_seen_where_it_is_used(name):
    (bug,) = [bug for bug in BUGS if bug.name == name]
    verdicts = {r.name: r.verdict for r in run(bug.implementation())}
    assert verdicts["beam, cached"] is Verdict.different
    assert verdicts["greedy, recomputed"].equivalent
    assert verdicts["beam, recomputed"].equivalent


def test_without_the_formula_other_tokens_are_not_judged():
    class Half(MultiHeadAttention):
        def __init__(self, *args, factor=0.5, **kwargs):
            super().__init__(*args, **kwargs)
            self.factor = factor

        def forward(self, query, *args, **options):
            return super().forward(query * self.factor, *args, **options)

    half = Implementation("half", Half)
    assert all(r.verdict.equivalent for r in run(half, reference=half))
    results = run(Implementation("negated", Half, {"factor": -9.0}), reference=half)
    assert {r.verdict for r in results} == {Verdict.not_run}
    assert "the oracle cannot tell" in results[0].finding


def test_a_tie_is_a_margin_within_rounding_or_a_search_that_rounding_turns():
    options = {"sentence": 0, "position": 1, "reference_token": "a", "candidate_token": "b"}
    assert Difference(**options, margin=1e-7, rounding=1e-6, search_is_undecided=False).is_tie
    assert Difference(**options, margin=1.0, rounding=1e-6, search_is_undecided=True).is_tie
    assert not Difference(**options, margin=1.0, rounding=1e-6, search_is_undecided=False).is_tie


def test_a_candidate_that_cannot_decode_is_different():
    class Raises(PlainAttention):
        def forward(self, *args, **kwargs):
            raise RuntimeError("no")

    assert all(
        r.verdict is Verdict.different and "raised RuntimeError: no" in r.finding
        for r in run(Implementation("raises", Raises))
    )
