import dataclasses

import pytest
import torch
from plain_attention import DropsPaddingInCrossAttention, PlainAttention
from torch import nn

from minitf.config.errors import UserError
from minitf.equivalence.cases import AXES, DTYPES, Case, covering_array
from minitf.equivalence.certify import Verification
from minitf.equivalence.implementations import Implementation, resolve
from minitf.equivalence.op_level import check_case, copy_weights, run_op_level
from minitf.equivalence.settings import parse
from minitf.equivalence.summaries import common_cause, summarize_op
from minitf.equivalence.verdict import Verdict

CPU = torch.device("cpu")
TORCH, CUSTOM = resolve("reference", "torch"), resolve("candidate", "custom")
FAST = resolve("candidate", {"name": "custom", "kernel": "fast"})


def run(candidate, dtype, seed, strength=2):
    cases = [(case, dtype) for case in covering_array(strength, seed)]
    return run_op_level(TORCH, candidate, cases, CPU, 1_000 * seed)


def plain_cases(seed):
    """The matrix without what PlainAttention does not know."""
    unknown = {"bias_kv": False, "zero_attn": False, "fully_masked": False}
    return [
        dataclasses.replace(case, **unknown, inputs=case.inputs.replace("kdim_vdim", "cross"))
        for case in covering_array(2, seed)
    ]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("candidate", [CUSTOM, FAST], ids=lambda side: side.label)
def test_correct_implementations_pass(candidate, dtype):
    results = run(candidate, dtype, seed=3)
    assert {r.verdict for r in results} <= {Verdict.bit_identical, Verdict.within_rounding}, [
        (r.case.label, r.finding) for r in results if r.finding
    ]


def test_an_implementation_equals_itself_to_the_last_bit():
    assert {r.verdict for r in run(TORCH, torch.float32, seed=3)} == {Verdict.bit_identical}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("seed", [1, 2])
def test_another_summation_order_is_within_rounding(dtype, seed):
    cases = plain_cases(seed)
    results = run_op_level(
        TORCH, Implementation("plain", PlainAttention), [(c, dtype) for c in cases], CPU, seed
    )
    assert {r.verdict for r in results} <= {Verdict.bit_identical, Verdict.within_rounding}, [
        (r.case.label, r.finding) for r in results if r.finding
    ]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5, 10))
def test_no_false_alarm_over_many_matrices(seed):
    for dtype in DTYPES:
        for candidate in (CUSTOM, FAST):
            findings = [r.finding for r in run(candidate, dtype, seed, strength=3) if r.finding]
            assert not findings


def test_a_bug_is_found_with_the_conditions_that_bring_it_out():
    buggy = Implementation("buggy", DropsPaddingInCrossAttention)
    cases = plain_cases(seed=1)
    results = run_op_level(TORCH, buggy, [(c, torch.float32) for c in cases], CPU, 1)
    failing = [r for r in results if r.verdict is Verdict.different]
    assert failing
    assert all(r.case.key_padding != "none" and r.case.inputs != "self" for r in failing)
    cause = common_cause(results)
    assert "inputs=cross or distinct" in cause
    assert "key_padding=bool or float" in cause
    report = summarize_op(results, torch.float32)
    assert report.verdict is Verdict.different
    assert "largest error" in report.findings[1]


class DropsInEvaluation(PlainAttention):
    """Beside NaN for queries that see no key, of which there are more cases."""

    def forward(self, *args, **options):
        output, weights = super().forward(*args, **options)
        return torch.dropout(output, self.dropout, train=True), weights


def test_the_kinds_of_findings_are_shown_and_queries_that_see_no_key_last():
    blind = [dataclasses.replace(c, mode="eval", dropout=0.0, attn_mask="bool", fully_masked=True)
             for c in plain_cases(1)[:7]]  # fmt: skip
    drops = dataclasses.replace(blind[0], dropout=0.5, fully_masked=False)
    cases = [(case, torch.float32) for case in [*blind, drops]]
    results = run_op_level(TORCH, Implementation("drops", DropsInEvaluation), cases, CPU, 1)
    first, *rest = summarize_op(results, torch.float32).findings[1:]
    assert "dropout=0.5" in first
    assert rest
    assert all("fully_masked=True" in finding for finding in rest)


def test_fully_masked_queries_are_a_documented_difference():
    case = Case(attn_mask="bool", fully_masked=True, weights="averaged")
    result = check_case(TORCH, CUSTOM, case, torch.float32, CPU, seed=4)
    assert result.verdict is Verdict.within_rounding
    assert "fully masked queries: zero, where the reference gives NaN" in result.notes


def test_an_implementation_that_averages_over_masked_keys_is_not_excused():
    class Uniform(PlainAttention):
        def masked(self, scores, attn_mask, key_padding_mask):
            return super().masked(scores, attn_mask, key_padding_mask).clamp(min=-1e9)

    case = Case(attn_mask="bool", fully_masked=True)
    result = check_case(TORCH, Implementation("uniform", Uniform), case, torch.float32, CPU, seed=4)
    assert result.verdict is Verdict.different


def test_a_candidate_that_raises_fails_the_case_not_the_run():
    class Raises(nn.MultiheadAttention):
        def forward(self, *args, **kwargs):
            raise RuntimeError("no kernel\nfor this")

    result = check_case(TORCH, Implementation("raises", Raises), Case(), torch.float32, CPU, seed=1)
    assert result.finding == "call: raised RuntimeError: no kernel for this"


def test_weights_that_do_not_cross_over_are_the_users_to_put_right():
    class Other(nn.MultiheadAttention):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.extra = nn.Parameter(torch.zeros(1))

    with pytest.raises(UserError, match=r"must load the reference's state_dict, .*extra"):
        copy_weights(nn.MultiheadAttention(4, 2), Other(4, 2))


def test_weights_that_change_on_the_way_are_noticed():
    class Rounds(nn.MultiheadAttention):
        def state_dict(self, *args, **kwargs):
            state = super().state_dict(*args, **kwargs)
            return {k: x.bfloat16().float() for k, x in state.items()}

    with pytest.raises(UserError, match=r"must give back what was loaded, but \['in_proj_weight'"):
        copy_weights(nn.MultiheadAttention(4, 2), Rounds(4, 2))


def test_every_axis_value_can_be_run():
    for axis, values in AXES.items():
        for value in values:
            case = dataclasses.replace(Case(key_padding="bool"), **{axis: value})
            assert check_case(TORCH, CUSTOM, case, torch.float32, CPU, seed=2).verdict.equivalent


class FewOptions(nn.MultiheadAttention):
    """As most own classes are constructed; and a constructor that heeds nothing else."""

    def __init__(self, embed_dim, num_heads, dropout=0.0, batch_first=False):
        super().__init__(embed_dim, num_heads, dropout, batch_first=batch_first)


class SeesTheFuture(FewOptions):
    def forward(self, *args, attn_mask=None, is_causal=False, **options):
        return super().forward(*args, attn_mask=None if is_causal else attn_mask, **options)


class SwapsHeadsAndBatch(FewOptions):
    def forward(self, *args, attn_mask=None, **options):
        if attn_mask is not None and attn_mask.dim() == 3 and attn_mask.dtype != torch.bool:
            attn_mask = attn_mask.unflatten(0, (self.num_heads, -1)).transpose(0, 1).flatten(0, 1)
        return super().forward(*args, attn_mask=attn_mask, **options)


class TransposesItsMask(FewOptions):
    def forward(self, query, key, value, attn_mask=None, is_causal=False, **options):
        if attn_mask is not None and query is key and not is_causal:
            attn_mask = attn_mask.transpose(-1, -2)
        return super().forward(
            query, key, value, attn_mask=attn_mask, is_causal=is_causal, **options
        )


@pytest.mark.parametrize("candidate", [FewOptions, SeesTheFuture, SwapsHeadsAndBatch,
                                       TransposesItsMask])  # fmt: skip
def test_a_class_with_few_options_is_compared_as_thoroughly(candidate):
    settings = parse(["level=op", "dtype=float32"])
    (report,) = Verification(settings, candidate=Implementation("own", candidate)).run("op")
    assert report.verdict.equivalent == (candidate is FewOptions)


def test_a_constructor_that_takes_anything_is_brought_to_the_data_type():
    def build(embed_dim, num_heads, **kwargs):
        return FewOptions(embed_dim, num_heads)

    module = Implementation("own", build)(8, 2, dtype=torch.float64, device=CPU)
    assert {p.dtype for p in module.parameters()} == {torch.float64}


def test_a_reference_that_raises_is_told():
    class Raises(FewOptions):
        def forward(self, *args, **options):
            raise NotImplementedError("not\nyet")

    with pytest.raises(UserError, match=r"the reference cannot be called, .*Error: not yet$"):
        check_case(Implementation("raises", Raises), CUSTOM, Case(), torch.float32, CPU, 1)


OTHER_FORMULA = "the reference does not compute the paper's formula"


def test_another_formula_as_the_reference_is_said_to_be_one():
    """Its rewrite differs in bits, and the oracle is no judge of it."""

    class Flat(FewOptions):
        def forward(self, query, key, value, **options):
            return super().forward(query / 2, key, value, **options)

    class Rewritten(FewOptions):
        def forward(self, query, key, value, **options):
            return super().forward(query * 0.50001, key, value, **options)

    sides = [Implementation(side.__name__, side) for side in (Flat, Rewritten)]
    settings = parse(["level=op", "dtype=float32"])
    (report,) = Verification(settings, *sides).run("op")
    assert "distance from the reference" in " ".join(report.findings)
    assert any(note.startswith(OTHER_FORMULA) for note in report.notes)
    (report,) = Verification(settings, candidate=sides[0]).run("op")
    assert not any(note.startswith(OTHER_FORMULA) for note in report.notes)
    (report,) = Verification(settings, sides[0], sides[0]).run("op")
    assert report.verdict is Verdict.bit_identical
