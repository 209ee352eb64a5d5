import pytest
import torch

from minitf.equivalence.verdict import Verdict, judge, worst

EPS = torch.finfo(torch.float32).eps


def tensors(seed=7, size=101):
    truth = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    reference = truth.float()
    rounded = [truth * (1 + EPS * torch.linspace(-1, 1, size).double())]
    return truth, reference, rounded


def test_the_same_bits_are_identical_whatever_the_truth():
    truth, reference, rounded = tensors()
    verdict = judge("x", reference + 1, reference + 1, truth, rounded)
    assert verdict.verdict is Verdict.bit_identical


def test_rounding_passes_and_what_is_beyond_it_does_not():
    truth, reference, rounded = tensors()
    near = judge("x", (truth * (1 + EPS)).float(), reference, truth, rounded)
    far = judge("x", (truth * (1 + 20 * EPS)).float(), reference, truth, rounded)
    assert near.verdict is Verdict.within_rounding
    assert far.verdict is Verdict.different
    assert "error" in far.reason


def test_in_float64_the_oracle_rounds_too():
    """A reference that computes in the oracle's order is no nearer to the truth for it."""
    eps = torch.finfo(torch.float64).eps
    truth, _, _ = tensors()
    rounded = [truth * (1 + eps * torch.linspace(-1, 1, len(truth)).double())]
    near = judge("x", truth * (1 + 2 * eps), truth, truth, rounded)
    far = judge("x", truth * (1 + 20 * eps), truth, truth, rounded)
    assert near.verdict is Verdict.within_rounding
    assert far.verdict is Verdict.different


def test_a_small_error_everywhere_is_found_by_its_root_mean_square():
    truth, reference, _ = tensors()
    truth[0] = 100.0  # makes the largest error allowed large, but not the mean one
    reference = truth.float()
    reference[0] += 5 * 2**-17  # five units in its last place
    candidate = (truth * (1 + 300 * EPS)).float()
    candidate[0] = truth[0]
    verdict = judge("x", candidate, reference, truth, [truth * (1 + EPS / 4)])
    assert verdict.verdict is Verdict.different
    assert "rms" in verdict.reason


def test_a_candidate_may_not_be_nan_where_the_reference_is_not():
    truth, reference, rounded = tensors()
    candidate = reference.clone()
    candidate[3] = torch.nan
    verdict = judge("x", candidate, reference, truth, rounded)
    assert verdict.verdict is Verdict.different
    assert verdict.reason == "1 of 101 not finite"
    # the other way round it is the reference that is at fault
    verdict = judge("x", reference, candidate, truth, rounded)
    assert verdict.verdict is Verdict.within_rounding
    assert "not finite" in verdict.reference_fault


def test_a_wrong_reference_is_no_excuse():
    truth, reference, rounded = tensors()
    verdict = judge("x", (truth + 0.1).float(), reference + 0.2, truth, rounded)
    assert verdict.verdict is Verdict.different
    assert verdict.reference_fault
    right = judge("x", reference, reference + 0.2, truth, rounded)
    assert right.verdict is Verdict.within_rounding


def test_two_of_another_formula_are_judged_by_each_other():
    truth, reference, rounded = tensors()
    other = reference + 0.2
    same = judge("x", other, other, truth, rounded)
    assert same.verdict is Verdict.bit_identical
    assert same.candidate_error == 0
    assert same.nearer == "equal"
    near = judge("x", other * (1 + 2 * EPS), other, truth, rounded)
    assert near.verdict is Verdict.within_rounding
    assert near.candidate_error <= near.allowed
    far = judge("x", other * (1 + 99 * EPS), other, truth, rounded)
    assert far.verdict is Verdict.different
    assert far.reason.startswith("largest distance from the reference")
    unlike = judge("x", other * (1 + 99 * EPS), other, truth, rounded, comparable=False)
    assert unlike.verdict is Verdict.not_run


def test_shapes_and_types_are_part_of_the_result():
    truth, reference, rounded = tensors()
    assert judge("x", reference[None], reference, truth, rounded).verdict is Verdict.different
    assert judge("x", reference.double(), reference, truth, rounded).verdict is Verdict.different


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ([Verdict.bit_identical, Verdict.not_run], Verdict.not_run),
        ([Verdict.different, Verdict.not_run], Verdict.different),
        ([Verdict.bit_identical, Verdict.within_rounding], Verdict.within_rounding),
        ([Verdict.different, Verdict.within_rounding], Verdict.different),
        ([], Verdict.not_run),
    ],
)
def test_the_worst_part_decides(parts, whole):
    assert worst(parts) is whole


def test_which_is_nearer_to_the_truth():
    truth, reference, rounded = tensors()
    worse = (truth * (1 + EPS)).float()
    assert judge("x", worse, reference, truth, rounded).nearer == "reference"
    assert judge("x", reference, worse, truth, rounded).nearer == "candidate"
