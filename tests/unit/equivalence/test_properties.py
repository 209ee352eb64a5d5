import pytest
import torch
from plain_attention import PlainAttention
from torch import nn

from minitf.attention import MultiHeadAttention
from minitf.config.errors import UserError
from minitf.equivalence.implementations import Implementation, resolve
from minitf.equivalence.properties import Outcome, run_properties_level
from minitf.equivalence.summaries import summarize_properties
from minitf.equivalence.verdict import Verdict

CPU = torch.device("cpu")


def outcomes(candidate, seed=3):
    return {p.name: p for p in run_properties_level(candidate, CPU, seed)}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "candidate",
    [
        resolve("c", "torch"),
        resolve("c", "custom"),
        resolve("c", {"name": "custom", "kernel": "math"}),
        resolve("c", {"name": "custom", "kernel": "fast"}),
        Implementation("plain", PlainAttention),
    ],
    ids=lambda side: side.label,
)
def test_correct_attentions_violate_nothing(candidate, seed):
    violated = [p for p in outcomes(candidate, seed).values() if p.outcome is Outcome.violated]
    assert not violated


def test_the_cache_is_checked_where_there_is_one():
    names = ("cache gives the same", "cache follows its rows", "cache of the source")
    custom = outcomes(resolve("c", "custom"))
    assert [custom[name].outcome for name in names] == [Outcome.holds] * 3
    theirs = outcomes(resolve("c", "torch"))
    assert [theirs[name].outcome for name in names] == [Outcome.not_applicable] * 3


class Distance(MultiHeadAttention):
    """ALiBi (Press et al. 2022) with one slope: self-attention looks nearby."""

    def forward(self, query, key, value, attn_mask=None, is_causal=False, cache=None, **options):
        if query is key:
            start = 0 if cache is None else cache.length
            keys = torch.arange(start + query.shape[1])
            i = keys[start:, None]
            bias = -0.5 * (i - keys).abs().to(query.dtype)
            attn_mask = bias.masked_fill(keys > i, -torch.inf) if is_causal else bias
        return super().forward(query, key, value, attn_mask=attn_mask, cache=cache, **options)


def test_the_cache_of_a_class_that_tells_self_attention_by_query_is_key():
    found = outcomes(Implementation("distance", Distance))
    for name in ("cache gives the same", "cache follows its rows", "cache of the source"):
        assert found[name].outcome is Outcome.holds, found[name]


class OtherNames(PlainAttention):
    """An attention that has no counterpart in torch: other parameters, no weights."""

    def __init__(self, *args, device=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.inner = PlainAttention(*args, **kwargs)
        for name in ("in_proj_weight", "in_proj_bias", "out_proj"):
            delattr(self, name)

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs | {"need_weights": False})


def test_an_attention_without_torchs_names_is_still_checked():
    found = outcomes(Implementation("other", OtherNames))
    assert found["formula"].outcome is Outcome.not_applicable
    assert found["weights are a distribution"].outcome is Outcome.not_applicable
    for name in ("no future leak", "attn mask is obeyed", "dropout in training", "gradients"):
        assert found[name].outcome is Outcome.holds, found[name]


class Temperature(MultiHeadAttention):
    """A learnt factor beside torch's parameters."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.temperature = nn.Parameter(torch.ones(1, dtype=self.in_proj_weight.dtype))

    def forward(self, *args, **options):
        output, weights = super().forward(*args, **options)
        return output * self.temperature, weights


def test_a_parameter_beside_torchs_makes_another_formula():
    found = outcomes(Implementation("temperature", Temperature))
    assert found["formula"].outcome is Outcome.not_applicable
    assert found["cache gives the same"].outcome is Outcome.holds
    assert not [p for p in found.values() if p.outcome is Outcome.violated]


class SharedKeys(OtherNames):
    """Keys are the values too, and what is given as the value is not read."""

    def forward(self, query, key, value, *args, **options):
        return super().forward(query, key, key, *args, **options)


def test_a_value_that_is_not_read_needs_no_gradient():
    found = outcomes(Implementation("shared", SharedKeys))
    assert found["padding content"].outcome is Outcome.holds, found["padding content"]


class ForgetsLate(Temperature):
    """Wrong where the cache holds many positions, as one with too short a window is."""

    def forward(self, *args, cache=None, **options):
        output, weights = super().forward(*args, cache=cache, **options)
        late = cache is not None and not cache.static and cache.length > 40
        return output * (0.9 if late else 1.0), weights


def test_a_cache_that_goes_wrong_late():
    found = outcomes(Implementation("late", ForgetsLate))
    for name in ("cache gives the same", "cache follows its rows"):
        assert found[name].outcome is Outcome.violated
    assert found["cache of the source"].outcome is Outcome.holds


def test_an_error_without_a_word_is_told_by_its_place():
    class Asserts(OtherNames):
        def forward(self, query, key, value, attn_mask=None, **options):
            if attn_mask is not None:
                raise AssertionError
            return super().forward(query, key, value, **options)

    found = outcomes(Implementation("asserts", Asserts))["attn mask is obeyed"]
    assert found.outcome is Outcome.violated
    assert found.finding.startswith("raised AssertionError: at test_properties.py:")


class Sigmoid(OtherNames):
    """Ramapuram et al. 2024: each weight is a sigmoid of its own score, normalised by nothing."""

    def forward(self, query, key, value, key_padding_mask=None, need_weights=True,
                attn_mask=None, average_attn_weights=True, is_causal=False):  # fmt: skip
        inner = self.inner
        linear = torch.nn.functional.linear
        q, k, v = (
            linear(x, w, b).unflatten(-1, (inner.num_heads, -1)).transpose(1, 2)
            for x, w, b in zip((query, key, value), inner.in_proj_weight.chunk(3),
                               inner.in_proj_bias.chunk(3), strict=True)
        )  # fmt: skip
        scores = inner.masked(q @ k.transpose(-1, -2) / 4, attn_mask, key_padding_mask)
        weights = torch.dropout(scores.sigmoid(), inner.dropout, self.training)
        output = inner.out_proj((weights @ v).transpose(1, 2).flatten(2))
        weights = weights.mean(1) if average_attn_weights else weights
        return output, weights if need_weights else None


def test_weights_that_are_no_softmax_are_noted_where_the_formula_is_another():
    found = outcomes(Implementation("sigmoid", Sigmoid))
    assert found["large scores"].outcome is Outcome.note
    assert found["weights are a distribution"].outcome is Outcome.note
    assert found["weights are a distribution"].finding.startswith("sum of a row's weights: differs")
    assert not [p for p in found.values() if p.outcome is Outcome.violated]


def test_numbers_that_overflow_are_wrong_in_any_formula():
    class Overflows(Sigmoid):
        def forward(self, *args, attn_mask=None, **options):
            output, weights = super().forward(*args, attn_mask=attn_mask, **options)
            largest = 0.0 if attn_mask is None else attn_mask.double().max()
            return output * torch.as_tensor(largest).exp(), weights

    found = outcomes(Implementation("overflows", Overflows))["large scores"]
    assert found.outcome is Outcome.violated


def test_what_a_class_says_it_does_not_implement_is_not_applicable():
    class OnlyBooleanMasks(OtherNames):
        def forward(self, *args, attn_mask=None, **options):
            if attn_mask is not None and attn_mask.is_floating_point():
                raise NotImplementedError("linear attention adds nothing to scores")
            return super().forward(*args, attn_mask=attn_mask, **options)

    found = outcomes(Implementation("boolean", OnlyBooleanMasks))
    assert found["large scores"].outcome is Outcome.not_applicable
    assert "adds nothing to scores" in found["large scores"].finding
    assert not [p for p in found.values() if p.outcome is Outcome.violated]


def test_a_class_with_torchs_names_may_decline_nothing():
    class OnlyBooleanMasks(MultiHeadAttention):
        def forward(self, *args, attn_mask=None, **options):
            if attn_mask is not None and attn_mask.is_floating_point():
                raise NotImplementedError("not yet")
            return super().forward(*args, attn_mask=attn_mask, **options)

    found = outcomes(Implementation("boolean", OnlyBooleanMasks))
    assert found["large scores"].outcome is Outcome.violated


class LeaksFuture(PlainAttention):
    def masked(self, scores, attn_mask, key_padding_mask):
        if attn_mask is not None and attn_mask.shape[0] == attn_mask.shape[1]:
            attn_mask = attn_mask & ~torch.eye(len(attn_mask), dtype=torch.bool).roll(1, 1)
        return super().masked(scores, attn_mask, key_padding_mask)


class SoftPadding(PlainAttention):
    def masked(self, scores, attn_mask, key_padding_mask):
        masked = super().masked(scores, attn_mask, key_padding_mask)
        return masked.clamp(min=-20.0)


class MixesBatch(PlainAttention):
    def forward(self, query, key, value, **options):
        output, weights = super().forward(query, key, value, **options)
        return output + 1e-9 * output.mean(0), weights


class KnowsPositions(PlainAttention):
    def masked(self, scores, attn_mask, key_padding_mask):
        scores = super().masked(scores, attn_mask, key_padding_mask)
        return scores + 1e-6 * torch.arange(scores.shape[-1])


class Detached(PlainAttention):
    def forward(self, query, key, value, **options):
        return super().forward(query, key, value.detach(), **options)


class UnscaledSelfAttention(MultiHeadAttention):
    def forward(self, query, key, value, **options):
        if query is key:
            query = query * self.head_dim**0.5
        return super().forward(query, key, value, **options)


class HalvesCausalScores(MultiHeadAttention):
    def forward(self, query, key, value, is_causal=False, **options):
        query = query / 2 if is_causal else query
        return super().forward(query, key, value, is_causal=is_causal, **options)


class HalvesWhatHasNoMask(HalvesCausalScores):
    needs_causal_mask = False

    def forward(self, query, key, value, is_causal=False, attn_mask=None, **options):
        return super().forward(
            query if attn_mask is None else query * (1 + is_causal),
            key,
            value,
            is_causal=is_causal,
            attn_mask=attn_mask,
            **options,
        )


class OnlyCausalMasks(OtherNames):
    def forward(self, *args, attn_mask=None, is_causal=False, **options):
        return super().forward(*args, attn_mask=attn_mask if is_causal else None, **options)


class NeverDrops(OtherNames):
    def __init__(self, *args, dropout=0.0, **kwargs):
        super().__init__(*args, **kwargs)


class DropsInEval(MultiHeadAttention):
    def forward(self, *args, **options):
        output, weights = super().forward(*args, **options)
        return torch.dropout(output, 0.1, True), weights


class BelievesNoMaskIsNeeded(PlainAttention):
    needs_causal_mask = False


class Window(PlainAttention):
    def masked(self, scores, attn_mask, key_padding_mask):
        scores = super().masked(scores, attn_mask, key_padding_mask)
        i = torch.arange(scores.shape[-2])[:, None] - torch.arange(scores.shape[-1])
        return scores.masked_fill(i > 2, -torch.inf) if i.shape[0] == i.shape[1] else scores


def test_a_window_sees_no_future_and_not_the_whole_past():
    found = outcomes(Implementation("window", Window))
    assert found["no future leak"].outcome is Outcome.holds
    assert found["whole past"].finding == "output 3 does not depend on input 0"


@pytest.mark.parametrize(
    ("bug", "name"),
    [
        (LeaksFuture, "no future leak"),
        (BelievesNoMaskIsNeeded, "no future leak"),
        (Window, "whole past"),
        (SoftPadding, "padding content"),
        (MixesBatch, "batch invariance"),
        (KnowsPositions, "key permutation"),
        (Detached, "gradients"),
        (UnscaledSelfAttention, "formula"),
        (HalvesCausalScores, "formula"),
        (HalvesWhatHasNoMask, "formula"),
        (OnlyCausalMasks, "attn mask is obeyed"),
        (NeverDrops, "dropout in training"),
        (DropsInEval, "no dropout in eval"),
    ],
)
def test_each_property_can_be_violated(bug, name):
    assert outcomes(Implementation("bug", bug))[name].outcome is Outcome.violated


def test_an_attention_that_raises_violates_instead_of_ending_the_run():
    class Raises(nn.MultiheadAttention):
        def forward(self, *args, **kwargs):
            raise ValueError("not\nyet")

    found = outcomes(Implementation("raises", Raises))["batch invariance"]
    assert found.outcome is Outcome.violated
    assert found.finding == "raised ValueError: not yet"


def test_an_attention_that_cannot_be_built_ends_the_run():
    """It violates nothing: an option was misspelt, or is missing."""
    with pytest.raises(UserError, match=r"^mine\(windw=3\) cannot be built with .*: TypeError: "):
        run_properties_level(Implementation("mine", PlainAttention, {"windw": 3}), CPU, 3)


def test_where_the_formula_cannot_be_seen_equivalence_is_not_shown():
    results = list(outcomes(Implementation("other names", OtherNames)).values())
    report = summarize_properties(results, results)
    assert report.verdict is Verdict.not_run
    (finding,) = report.findings
    assert finding.startswith("formula cannot be seen, for it has other parameters than torch's")


class OtherOrder(MultiHeadAttention):
    def forward(self, query, key, value, attn_mask=None, need_weights=True, **options):
        return super().forward(
            query, key, value, attn_mask=attn_mask, need_weights=need_weights, **options
        )


def test_another_order_of_arguments_is_worth_knowing():
    found = outcomes(Implementation("other order", OtherOrder))["arguments by position"]
    assert found.outcome is Outcome.note
    assert (
        "torch's is query, key, value, key_padding_mask, need_weights, attn_mask" in found.finding
    )
    found = outcomes(resolve("c", "torch"))["arguments by position"]
    assert found.outcome is Outcome.holds
