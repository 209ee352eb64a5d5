"""The rule of judgement: when a difference is rounding, and when it is a bug.

No fixed tolerance can tell them apart: what rounding does depends on the data type, the sizes, the
values and the formula's own conditioning. So each tensor is judged by measured yardsticks:

    a candidate's tensor passes  if it is bit-identical to the reference's, or
                                 if error(candidate) <= FACTOR * error(reference) + rounding

in the largest error and in the root mean square, both against a float64 oracle. `rounding` is what
the oracle's own result moves when each of its steps is rounded by up to one unit in the last place
of the data type judged (the largest of several draws), and never less than one such unit at the
tensor's largest value. In float64 the oracle itself rounds, and a reference that computes in its
order seems to have no error: there it counts as `rounding` at least. Where the reference is itself
wrong, not finite or further than CREDIT times `rounding` from the truth, `rounding` stands in for
its error; and a candidate passes too that is within CREDIT times `rounding` of it: both then
compute some other formula than the oracle's.
"""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import torch
from torch import Tensor

from minitf.config.errors import UserError
from minitf.equivalence.ulp import same_bits, ulp_distance, ulp_size

FACTOR = 3.0
"""How many times the reference's own error a candidate may have, beside the rounding of one ULP."""

CREDIT = 10.0
"""Beyond this many times `rounding`, an error is no rounding: the reference itself is wrong."""

RULE = (
    "A tensor passes if it is bit-identical to the reference's, or if its error against the "
    f"float64 oracle is at most {FACTOR:g} times the reference's own plus rounding: what the "
    "formula moves when each of its steps is rounded by up to one unit in the last place."
)


class Verdict(StrEnum):
    """The outcome of a comparison, a level, or everything, from best to worst."""

    bit_identical = "bit-identical"
    within_rounding = "within rounding"
    different = "different"
    not_run = "not run"
    """Or run, and nothing there to judge it by."""

    @property
    def equivalent(self) -> bool:
        """Whether the outcome supports equivalence."""
        return self in (Verdict.bit_identical, Verdict.within_rounding)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The outcome of a whole from those of its parts; without parts, that it was not run."""
    order = [Verdict.bit_identical, Verdict.within_rounding, Verdict.not_run, Verdict.different]
    return order[max(map(order.index, verdicts))] if verdicts else Verdict.not_run


@dataclass(frozen=True)
class Error:
    """Distance from the truth: the largest absolute error and the root mean square."""

    largest: float
    rms: float

    @staticmethod
    def of(x: Tensor, truth: Tensor) -> "Error":
        """Over the elements where `x` is finite; 0 where there are none."""
        difference = (x.detach().double() - truth)[x.isfinite()]
        if difference.numel() == 0:
            return Error(0.0, 0.0)
        return Error(float(difference.abs().max()), float(difference.square().mean().sqrt()))


@dataclass(frozen=True)
class TensorVerdict:
    """One tensor of the candidate, judged."""

    name: str
    verdict: Verdict
    max_ulp: float
    """Largest distance to the reference's tensor in ULP; NaN: not comparable."""
    median_ulp: float
    candidate_error: float
    reference_error: float
    rounding: float
    """The three above: largest absolute errors against the oracle."""
    allowed: float
    reason: str = ""
    """Why it fails, or what is notable."""
    reference_fault: str = ""
    """Set where the reference, not the candidate, departs from the oracle."""
    by_reference: bool = False
    """Whether errors are distances from the reference, for neither computes the formula."""

    @property
    def nearer(self) -> str:
        """Which of the two is nearer to the truth."""
        if self.by_reference or self.candidate_error == self.reference_error:
            return "equal"
        return "candidate" if self.candidate_error < self.reference_error else "reference"


def judge(
    name: str,
    candidate: Tensor,
    reference: Tensor,
    truth: Tensor,
    rounded: Sequence[Tensor],
    reference_truth: Tensor | None = None,
    comparable: bool = True,
) -> TensorVerdict:
    """Judge one tensor by the rule above.

    Args:
        name: what it is, for the report.
        candidate: any shape, the data type judged.
        reference: the same of the reference.
        truth: the same from the oracle, in float64.
        rounded: the oracle's results under random rounding, each in float64.
        reference_truth: the truth of the reference, where dropout drew otherwise for it.
        comparable: False where the two follow different conventions, so that their distance in ULP
            says nothing; each is then measured against its own truth alone.
    """
    if candidate.shape != reference.shape or candidate.dtype != reference.dtype:
        received = f"{tuple(candidate.shape)} {candidate.dtype}"
        wanted = f"{tuple(reference.shape)} {reference.dtype}"
        return failed(name, f"is {received}, the reference's is {wanted}")

    unit = ulp_size(float(truth.abs().max()), candidate.dtype)
    roundings = [Error.of(sample, truth) for sample in rounded]
    largest = max([unit, *(error.largest for error in roundings)])
    # One element's unit, spread over the tensor, is the least root mean square.
    rms = max([unit / max(truth.numel(), 1) ** 0.5, *(error.rms for error in roundings)])

    candidate_error = Error.of(candidate, truth)
    reference_truth = truth if reference_truth is None else reference_truth
    reference_error = Error.of(reference, reference_truth)
    identical = same_bits(candidate, reference)
    fault, yardstick = "", reference_error
    if candidate.dtype == torch.float64:
        yardstick = Error(max(largest, reference_error.largest), max(rms, reference_error.rms))
    reference_unit = ulp_size(float(reference_truth.abs().max()), reference.dtype)
    if reference_error.largest > CREDIT * max(largest, reference_unit):
        fault = "the reference is far from the truth"
        yardstick = Error(largest, rms)
    elif not bool(reference.isfinite().all()):
        fault = "the reference is not finite where the formula is"
        yardstick = Error(max(largest, reference_error.largest), max(rms, reference_error.rms))

    allowed = FACTOR * yardstick.largest + largest
    allowed_rms = FACTOR * yardstick.rms + rms
    by_reference = bool(fault) and not (
        candidate_error.largest <= allowed and candidate_error.rms <= allowed_rms
    )
    if by_reference:
        candidate_error, reference_error = Error.of(candidate, reference.double()), Error(0.0, 0.0)
        allowed, allowed_rms = CREDIT * largest, CREDIT * rms
    beside = "error" if not by_reference else "distance from the reference"
    spurious = int((~candidate.isfinite() & reference.isfinite()).sum())
    reason = ""
    if identical:
        verdict = Verdict.bit_identical
    elif spurious:
        verdict, reason = Verdict.different, f"{spurious} of {candidate.numel()} not finite"
    elif by_reference and not comparable:
        verdict, reason = Verdict.not_run, "neither computes the paper's formula, or draws alike"
    elif not candidate_error.largest <= allowed:
        verdict = Verdict.different
        reason = f"largest {beside} {candidate_error.largest:.2g}, allowed {allowed:.2g}"
    elif not candidate_error.rms <= allowed_rms:
        verdict = Verdict.different
        reason = f"rms {beside} {candidate_error.rms:.2g}, allowed {allowed_rms:.2g}"
    else:
        verdict = Verdict.within_rounding
    distance = torch.full((1,), torch.nan)
    finite = candidate.isfinite() & reference.isfinite()
    if comparable and not fault and bool(finite.any()):
        distance = ulp_distance(candidate, reference)[finite]
    return TensorVerdict(
        name=name,
        verdict=verdict,
        max_ulp=float(distance.max()),
        median_ulp=float(distance.median()),
        candidate_error=candidate_error.largest,
        reference_error=reference_error.largest,
        rounding=largest,
        allowed=allowed,
        reason=reason,
        reference_fault=fault,
        by_reference=by_reference,
    )


def failed(name: str, reason: str) -> TensorVerdict:
    """A tensor that could not be compared at all."""
    inf = float("inf")
    return TensorVerdict(name, Verdict.different, inf, inf, inf, 0.0, 0.0, 0.0, reason)


def raised(error: Exception) -> str:
    """What a candidate raised, as the reason of its failure; where, if it does not say what."""
    said = " ".join(str(error).split())
    if not said and (frames := traceback.extract_tb(error.__traceback__)):
        said = f"at {Path(frames[-1].filename).name}:{frames[-1].lineno}"
    return f"raised {type(error).__name__}: {said}"


def cannot_be_run(side: str, error: Exception) -> UserError:
    """The answer where there is nothing to compare with."""
    return UserError(f"the {side} cannot be run: it {raised(error)}")


def dtype_name(dtype: torch.dtype) -> str:
    """`float32` for torch.float32."""
    return str(dtype).removeprefix("torch.")
