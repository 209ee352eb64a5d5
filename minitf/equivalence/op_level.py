"""Level 1: the attention module alone, on the case matrix, against reference and oracle."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from minitf.config.errors import UserError
from minitf.equivalence.calls import (
    Call,
    Results,
    build_module,
    make_call,
    randomize,
    run_module,
    run_oracle,
)
from minitf.equivalence.cases import Case
from minitf.equivalence.dropout_probe import dropout_fault, dropped_weights
from minitf.equivalence.implementations import Implementation
from minitf.equivalence.rounding import EXACT, ROUNDING_DRAWS, RandomRounding
from minitf.equivalence.ulp import same_bits
from minitf.equivalence.verdict import (
    TensorVerdict,
    Verdict,
    dtype_name,
    failed,
    judge,
    raised,
    worst,
)


@dataclass(frozen=True)
class CaseResult:
    """One case in one data type, judged."""

    case: Case
    dtype: str
    tensors: list[TensorVerdict]
    notes: list[str] = field(default_factory=list)
    """What differs without being wrong: strides, random state, rows that see no key."""

    @property
    def verdict(self) -> Verdict:
        """The worst of the tensors."""
        return worst([tensor.verdict for tensor in self.tensors])

    @property
    def finding(self) -> str:
        """The first tensor that fails, with its reason; empty where none does."""
        for tensor in self.tensors:
            if tensor.verdict is Verdict.different:
                return f"{tensor.name}: {tensor.reason}"
        return ""


def copy_weights(reference: nn.Module, candidate: nn.Module) -> None:
    """Copy weights by state_dict and check that they come back bit by bit.

    Raises:
        UserError: where names, shapes or values do not survive the way there and back.
    """
    wanted = reference.state_dict()
    try:
        candidate.load_state_dict(wanted, strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"the candidate must load the reference's state_dict, but {reason}; "
            f"no outputs of an attention with other parameters can be compared"
        ) from error
    returned = candidate.state_dict()
    changed = [k for k, x in wanted.items() if k not in returned or not same_bits(x, returned[k])]
    if changed or len(returned) != len(wanted):
        raise UserError(
            f"the candidate's state_dict must give back what was loaded, but {changed} changed"
        )
    reference.load_state_dict(returned, strict=True)


def check_case(
    reference: Implementation,
    candidate: Implementation,
    case: Case,
    dtype: torch.dtype,
    device: torch.device,
    seed: int,
) -> CaseResult:
    """Run one case through both implementations and the oracle."""
    torch.manual_seed(seed)
    reference_module = build_module(reference, case, dtype, device)
    torch.manual_seed(seed)
    candidate_module = build_module(candidate, case, dtype, device)
    randomize(reference_module, seed)
    copy_weights(reference_module, candidate_module)
    call = make_call(case, dtype, device, seed + 1)
    try:
        wanted, wanted_state = run_module(reference_module, call, seed)
    except Exception as error:
        message = " ".join(str(error).split())
        raise UserError(
            f"the reference cannot be called, {case.label}: {type(error).__name__}: {message}"
        ) from error
    try:
        received, state = run_module(candidate_module, call, seed)
    except Exception as error:  # a candidate may fail in any way: the case then fails, not the run
        reason = raised(error)
        return CaseResult(case, dtype_name(dtype), [failed("call", reason)])

    notes: list[str] = []
    tensors = [
        failed(name, "given by one of the two only")
        for name in sorted(wanted.keys() ^ received.keys())
    ]
    names = [name for name in wanted if name in received]
    parameters = {k: x.detach() for k, x in reference_module.named_parameters()}
    kept = reference_kept = None
    if case.dropout and case.mode == "train":
        kept = dropped_weights(candidate_module, call, seed)
        reference_kept = dropped_weights(reference_module, call, seed)
        visible = _visible(parameters, call)
        fault = dropout_fault(kept, visible, case.dropout)
        # What the reference's mask has too says that `visible` is not theirs.
        if fault and not dropout_fault(reference_kept, visible, case.dropout):
            tensors.append(failed("dropout", fault))
        if not torch.equal(kept[visible], reference_kept[visible]):
            notes.append("dropout draws another mask")
    blind = _blind_queries(parameters, call)
    blind_zero = _is_zero(received["output"], blind)
    truth = run_oracle(parameters, call, EXACT, kept, blind_zero)
    reference_zero = _is_zero(wanted["output"], blind)
    comparable = blind_zero == reference_zero and "dropout draws another mask" not in notes
    reference_truth = run_oracle(parameters, call, EXACT, reference_kept, reference_zero)
    rounded = [
        run_oracle(parameters, call, RandomRounding(dtype, seed + draw), kept, blind_zero)
        for draw in range(ROUNDING_DRAWS)
    ]
    tensors += [
        judge(
            name,
            received[name],
            wanted[name],
            truth[name],
            [sample[name] for sample in rounded],
            reference_truth[name],
            comparable=comparable,
        )
        for name in names
    ]
    notes += _notes(wanted, received, (wanted_state, state), blind)
    return CaseResult(case, dtype_name(dtype), tensors, notes)


def _visible(parameters: Mapping[str, Tensor], call: Call) -> Tensor:
    """(B, H, T, S'), True where the oracle gives a key some weight."""
    per_head = replace(call, case=replace(call.case, weights="per_head", mode="inference"))
    weights = run_oracle(parameters, per_head)["weights"]
    return (weights if call.case.batch else weights.unsqueeze(0)) > 0


def _blind_queries(parameters: Mapping[str, Tensor], call: Call) -> Tensor:
    """True at queries that see no key in any head, in the shape of the output without E."""
    blind = ~_visible(parameters, call).any(-1).any(1)  # (B, T)
    if call.case.batch == 0:
        return blind[0]
    return blind if call.case.batch_first else blind.T


def _is_zero(output: Tensor, blind: Tensor) -> bool:
    """Whether blind queries have zero output, minitf's convention, or another one."""
    return bool((output[blind] == 0).all())


def _notes(
    wanted: Results, received: Results, states: tuple[Tensor, Tensor], blind: Tensor
) -> list[str]:
    """What differs without being wrong, but shows in a training run's bits."""
    notes = []
    if wanted["output"].stride() != received["output"].stride():
        notes.append("output has other strides")
    if not torch.equal(*states):
        notes.append("leaves another random state")
    if bool(blind.any()) and not same_bits(wanted["output"][blind], received["output"][blind]):
        notes.append(
            "fully masked queries: "
            + ", where the reference gives ".join(
                _blind_result(results["output"][blind]) for results in (received, wanted)
            )
        )
    return notes


def _blind_result(output: Tensor) -> str:
    if not bool(output.isfinite().all()):
        return "NaN"
    return "zero" if bool((output == 0).all()) else "the output bias"


def run_op_level(
    reference: Implementation,
    candidate: Implementation,
    cases: Iterable[tuple[Case, torch.dtype]],
    device: torch.device,
    seed: int,
) -> list[CaseResult]:
    """Judge every case; the seed of a case is `seed` plus its number."""
    return [
        check_case(reference, candidate, case, dtype, device, seed + number)
        for number, (case, dtype) in enumerate(cases)
    ]
