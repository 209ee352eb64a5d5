"""From each level's results to its part of the report."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import torch

from minitf.equivalence.cases import AXES
from minitf.equivalence.decoding_level import SearchResult
from minitf.equivalence.model_level import ModelResult
from minitf.equivalence.op_level import CaseResult
from minitf.equivalence.properties import Outcome, PropertyResult
from minitf.equivalence.report import Cell, LevelReport, Table
from minitf.equivalence.training_level import MEASURES, TrainingResult, distance
from minitf.equivalence.verdict import TensorVerdict, Verdict, dtype_name, worst

KNOWN_DIFFERENCE = "fully masked queries"
"""How notes of the one documented difference begin."""

_GROUPS = {
    "output": "outputs",
    "weights": "weights",
    "grad.query": "input gradients",
    "grad.key": "input gradients",
    "grad.value": "input gradients",
    "call": "outputs",
    "dropout": "outputs",
}
"""Kinds of tensors by name; all others are gradients of parameters."""
_COLUMNS = ["tensors", "same bits", "rounding", "different", "max ULP", "median ULP",
            "error/allowed", "nearer cand:ref"]  # fmt: skip
_TENSORS = "Tensors (nearer: how many of the candidate's, of the reference's, to the truth)"
_SHOWN_FINDINGS = 5


def tensor_row(tensors: Sequence[TensorVerdict]) -> list[Cell]:
    """Counts and distances of several tensors, as the columns above.

    The last: in how many of them the candidate, and in how many the reference, is nearer to the
    truth.
    """
    verdicts = Counter(t.verdict for t in tensors)
    ratios = [t.candidate_error / t.allowed for t in tensors if t.allowed > 0]
    nearer = Counter(t.nearer for t in tensors)
    comparable = [t for t in tensors if not math.isnan(t.max_ulp)]
    medians = sorted(t.median_ulp for t in comparable)
    return [
        len(tensors),
        verdicts[Verdict.bit_identical],
        verdicts[Verdict.within_rounding],
        verdicts[Verdict.different],
        max((t.max_ulp for t in comparable), default=0.0),
        medians[len(medians) // 2] if medians else 0.0,
        max(ratios, default=0.0),
        f"{nearer['candidate']}:{nearer['reference']}",
    ]


def summarize_op(results: Sequence[CaseResult], dtype: torch.dtype) -> LevelReport:
    """The case matrix in one data type."""
    counts = Counter(result.verdict for result in results)
    verdict = worst([result.verdict for result in results])
    groups: dict[str, list[TensorVerdict]] = {}
    for tensor in (tensor for result in results for tensor in result.tensors):
        groups.setdefault(_GROUPS.get(tensor.name, "parameter gradients"), []).append(tensor)
    rows: list[list[Cell]] = [[name, *tensor_row(tensors)] for name, tensors in groups.items()]
    failing = [result for result in results if result.finding]
    unjudged = [t.reason for r in results for t in r.tensors if t.verdict is Verdict.not_run]
    findings = [f"{len(failing)} of {_cases(len(results))} differ{common_cause(results)}"]
    findings += [f"{r.case.label} · {r.finding}" for r in _telling(failing)[:_SHOWN_FINDINGS]]
    if not failing:
        findings = unjudged[:1]
    notes = Counter(note for result in results for note in result.notes)
    notes.update(fault for r in results for fault in {t.reference_fault for t in r.tensors} - {""})
    shown_notes = [f"{note} ({_cases(count)})" for note, count in notes.most_common()]
    shown_notes += _where_bits_differ(results)
    shown_notes += _other_formula([t for r in results for t in r.tensors])
    return LevelReport(
        level="op",
        title=f"Op, {dtype_name(dtype)}",
        verdict=verdict,
        summary=f"{len(results)} cases: {counts[Verdict.bit_identical]} bit-identical, "
        f"{counts[Verdict.within_rounding]} within rounding, {counts[Verdict.different]} different"
        + (f", {counts[Verdict.not_run]} not judged" if unjudged else ""),
        findings=findings,
        notes=shown_notes,
        tables=[
            Table(_TENSORS, ["kind", *_COLUMNS], rows),
            Table(
                "Cases",
                ["case", "verdict", "max ULP", "error / allowed", "finding", "notes"],
                [_case_row(result) for result in results],
                folded=True,
            ),
        ],
    )


def _telling(failing: Sequence[CaseResult]) -> list[CaseResult]:
    """One of each kind of finding first, and last where a query sees no key, which many forget."""
    seen: Counter[str] = Counter()
    order = []
    for number, result in enumerate(failing):
        kind = re.sub(r"[\d.e+-]+", "#", result.finding)
        order.append((result.case.fully_masked, seen[kind], number))
        seen[kind] += 1
    return [failing[number] for *_, number in sorted(order)]


def _other_formula(tensors: Sequence[TensorVerdict]) -> list[str]:
    """What to know where it is the reference that mostly departs from the oracle."""
    if 2 * sum(bool(t.reference_fault) for t in tensors) <= len(tensors):
        return []
    return [
        "the reference does not compute the paper's formula: the two are judged by each other, "
        "and by what rounding does to that formula; level=training lets it act on the reference"
    ]


def _cases(count: int) -> str:
    return "1 case" if count == 1 else f"{count} cases"


def _where_bits_differ(results: Sequence[CaseResult]) -> list[str]:
    """Where a correct candidate is not bit-identical, in words."""
    other = [r for r in results if r.verdict is Verdict.within_rounding]
    kinds: Counter[str] = Counter()
    for result in other:
        if any(note.startswith(KNOWN_DIFFERENCE) for note in result.notes):
            kinds["with fully masked queries"] += 1
        elif any(tensor.reference_fault for tensor in result.tensors):
            kinds["where the reference departs from the formula"] += 1
        elif result.case.mode == "inference":
            kinds["in inference, where torch has another kernel"] += 1
        else:
            label = next((k for k in kinds if k.startswith("elsewhere")), None)
            kinds[label or f"elsewhere, as {result.case.label}"] += 1
    if not other:
        return []
    return ["other bits: " + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())]


def _case_row(result: CaseResult) -> list[Cell]:
    ratios = [t.candidate_error / t.allowed for t in result.tensors if t.allowed > 0]
    return [
        result.case.label,
        result.verdict.value,
        max((t.max_ulp for t in result.tensors if not math.isnan(t.max_ulp)), default=0.0),
        max(ratios, default=0.0),
        result.finding,
        "; ".join(result.notes),
    ]


def common_cause(results: Sequence[CaseResult]) -> str:
    """What the failing cases, and no other axis values, share: `, all with attn_mask=causal`."""
    failing = [asdict(r.case) for r in results if r.verdict is Verdict.different]
    passing = [asdict(r.case) for r in results if r.verdict is not Verdict.different]
    conditions = []
    for axis, values in AXES.items():
        seen = {case[axis] for case in failing}
        if len(seen) < len(values) and not {case[axis] for case in passing} <= seen:
            shown = " or ".join(str(value) for value in values if value in seen)
            conditions.append((len(seen), f"{axis}={shown}"))
    conditions.sort()
    return f", all with {', '.join(text for _, text in conditions[:3])}" if conditions else ""


def summarize_model(result: ModelResult, dtype: torch.dtype) -> LevelReport:
    """Both whole models on one batch."""
    groups = {
        "layers, free-running": result.free,
        "layers, on the reference's inputs": result.local,
        "parameter gradients": result.gradients,
    }
    findings = [result.finding] if result.finding else []
    if result.adding_layers:
        findings.append(f"error is added by {', '.join(result.adding_layers)}")
    elif result.finding and result.local:
        findings.append("no layer adds error on the reference's inputs: it is inherited")
    first = result.first_divergence
    local = {t.name: t for t in result.local}
    columns = ["layer", "verdict", "max ULP", "error", "reference's error", "allowed",
               "on the reference's inputs"]  # fmt: skip
    return LevelReport(
        level="model",
        title=f"Model, {dtype_name(dtype)}",
        verdict=result.verdict,
        summary=f"{result.sizes}: "
        + _where_they_part(first, result.gradients),
        findings=findings,
        notes=_other_formula([*result.free, *result.gradients]),
        tables=[
            Table(_TENSORS, ["kind", *_COLUMNS],
                  [[name, *tensor_row(tensors)] for name, tensors in groups.items() if tensors]),
            Table(
                "Layers in order of computation",
                columns,
                [
                    [t.name, t.verdict.value, t.max_ulp, t.candidate_error, t.reference_error,
                     t.allowed, local[t.name].verdict.value if t.name in local else ""]
                    for t in result.free
                ],
                folded=True,
            ),
        ],
    )  # fmt: skip


def _where_they_part(first: str, gradients: Sequence[TensorVerdict]) -> str:
    if first:
        return f"first other bits at {first}"
    if any(t.verdict is not Verdict.bit_identical for t in gradients):
        return "every layer, logits and loss the same, other bits in gradients"
    return "every layer, logits, loss and gradient the same to the last bit"


def summarize_training(result: TrainingResult) -> LevelReport:
    """Lockstep curves against rounding's envelope."""
    dropout = f"with dropout {result.dropout:g}" if result.dropout else "without dropout"
    steps = f"{result.steps} steps {dropout}, {result.precision}"
    if not result.curves:
        return LevelReport(
            level="training",
            title=f"Training, {result.precision}",
            verdict=result.verdict,
            summary=f"{steps}: not trained to the end",
            findings=[result.finding],
        )
    if result.verdict is Verdict.bit_identical:
        summary = f"{steps}: losses, gradient norms and weights the same to the last bit"
    elif result.outside_at is None and result.parted_at is None:
        summary = f"{steps}: the same to the last bit"  # so much, with dropout it was not
    elif result.outside_at is None:
        summary = f"{steps}: other bits from step {result.parted_at}, within rounding's envelope"
    else:
        summary = f"{steps}: outside rounding's envelope from step {result.outside_at}"
    notes = [f"the reference against itself: {result.machine_noise:.2g} in loss"]
    if result.dropout_finding and result.verdict.equivalent:
        notes.append(
            f"with dropout {result.dropout_finding}: other dropout masks, for the memory layout or "
            f"the draws differ; judged without dropout"
        )
    if not result.same_random_state:
        notes.append("leaves another random state")
    runs = [name for name in result.curves if name != "reference"]
    last = {
        name: [distance(result.curves, name, measure)[-1] for measure in MEASURES] for name in runs
    }
    return LevelReport(
        level="training",
        title=f"Training, {result.precision}",
        verdict=result.verdict,
        summary=summary,
        findings=[result.finding] if result.finding else [],
        notes=notes,
        tables=[
            Table(
                "Distance from the reference after the last step",
                ["run", *(measure.replace("_", " ") for measure in MEASURES)],
                [[_RUN_NAMES.get(name, name), *values] for name, values in last.items()],
            )
        ],
        curves={
            "steps": result.steps,
            "outside_at": result.outside_at,
            "parted_at": result.parted_at,
            "runs": {name: asdict(curve) for name, curve in result.curves.items()},
            "envelope": result.envelopes,
        },
    )


_RUN_NAMES = {
    "again": "reference again",
    "one": "reference, one weight moved by 1 ULP",
    "rounded-0": "reference, rounding otherwise at every step",
    "rounded-1": "likewise, other draws",
    "rounded-2": "likewise, other draws",
}


def summarize_decoding(results: Sequence[SearchResult], dtype: torch.dtype) -> LevelReport:
    """Searches beside the reference's."""
    identical = sum(result.identical for result in results)
    total = sum(result.sentences for result in results)
    failing = [r.finding for r in results if r.finding]
    rows: list[list[Cell]] = []
    notes = _other_formula([r.log_probs for r in results])
    for r in results:
        shown = ""
        if (d := r.first_difference) is not None:
            shown = (
                f"sentence {d.sentence}, token {d.position}: {d.candidate_token!r} for "
                f"{d.reference_token!r}, margin {d.margin:.2g} nats"
            )
            if d.margin <= d.rounding:
                notes.append(f"{r.name}: {shown}: a tie within rounding ({d.rounding:.2g})")
            elif d.is_tie:
                notes.append(f"{r.name}: {shown}: an earlier tie, which rounding alone decides")
        rows.append([r.name, r.verdict.value, f"{r.identical} of {r.sentences}",
                     r.log_probs.candidate_error, r.log_probs.allowed, shown])  # fmt: skip
    return LevelReport(
        level="decoding",
        title=f"Decoding, {dtype_name(dtype)}",
        verdict=worst([r.verdict for r in results]),
        summary=f"{identical} of {total} sentences token-identical, over {len(results)} searches",
        findings=failing,
        notes=notes,
        tables=[
            Table(
                "Searches",
                ["search", "verdict", "token-identical", "log-probability error", "allowed",
                 "first difference"],
                rows,
            )
        ],
    )  # fmt: skip


def summarize_properties(
    candidate: Sequence[PropertyResult], reference: Sequence[PropertyResult]
) -> LevelReport:
    """Properties of the candidate, the reference's beside them."""
    violated = [p for p in candidate if p.outcome is Outcome.violated]
    held = sum(p.outcome is Outcome.holds for p in candidate)
    # Seen through torch's parameter names; without them everything else says little.
    unseen = [
        f"{p.name} cannot be seen, for it {p.finding}: a wrong scale or projection would pass, "
        f"what holds of any attention was checked"
        for p in candidate
        if p.name == "formula" and p.outcome is Outcome.not_applicable
    ]
    verdict = Verdict.not_run if unseen else Verdict.within_rounding
    return LevelReport(
        level="properties",
        title="Properties, float64",
        verdict=Verdict.different if violated else verdict,
        summary=f"{held} hold, {len(violated)} violated, {len(candidate) - held - len(violated)} "
        f"notes or not applicable",
        findings=[f"{p.name}: {p.finding}" for p in violated] or unseen,
        notes=[f"{p.name}: {p.finding}" for p in candidate if p.outcome is Outcome.note],
        tables=[
            Table(
                "Properties",
                ["property", "candidate", "reference", "finding", "statement"],
                [
                    [p.name, p.outcome.value, q.outcome.value, p.finding, p.statement]
                    for p, q in zip(candidate, reference, strict=True)
                ],
            )
        ],
    )
