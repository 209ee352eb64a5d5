"""`assert_equivalent`: the certificate inside a test suite, in one line."""

from collections.abc import Callable
from typing import Any, NoReturn

from torch import nn

from minitf.equivalence.certify import Verification
from minitf.equivalence.comparable import overall
from minitf.equivalence.implementations import Implementation, resolve
from minitf.equivalence.process_state import process_state_kept
from minitf.equivalence.report import LevelReport
from minitf.equivalence.settings import parse
from minitf.equivalence.verdict import Verdict

Side = str | Callable[..., nn.Module] | Implementation


def assert_equivalent(
    candidate: Side, *overrides: str, reference: Side = "torch", level: str = "op,properties"
) -> None:
    """Fail if an attention is not equivalent to another.

    Args:
        candidate: "custom", "torch", an import path, or a class with the constructor and forward of
            torch.nn.MultiheadAttention.
        overrides: of `minitf verify`, as in "dtype=float32", "thorough", "seed=3".
        reference: likewise; what the candidate is compared with.
        level: one level, several with commas, or "all".

    Raises:
        AssertionError: they differ; the message names the level, the case and the tensor. Or
            nothing could tell whether they do.

    Example:
        >>> import torch
        >>> assert_equivalent(torch.nn.MultiheadAttention, "dtype=float32", level="properties")
    """
    data = [] if any(o.startswith("run=") for o in overrides) else ["data=letters"]
    settings = parse([f"level={level}", *data, *overrides])
    sides = [_implementation("reference", reference), _implementation("candidate", candidate)]
    verification = Verification(settings, *sides)
    reports: list[LevelReport] = []
    with process_state_kept(settings.threads, verification.device):
        for report in verification.run_all():
            reports.append(report)
            if report.verdict is Verdict.different:
                _fail(sides, "is not equivalent to", report)
    verdict = overall(reports)
    if not verdict.equivalent:
        report = next(r for r in reports if r.verdict is verdict)
        _fail(sides, "is not shown to be equivalent to", report)


def _fail(sides: list[Implementation], judged: str, report: LevelReport) -> NoReturn:
    found = "\n  ".join(report.findings)
    raise AssertionError(
        f"{sides[1].label} {judged} {sides[0].label}\n{report.title}: {report.summary}\n  {found}"
    )


def _implementation(side: str, given: Any) -> Implementation:
    if isinstance(given, Implementation):
        return given
    if isinstance(given, str):
        return resolve(side, {"_target_": given} if "." in given else given)
    return Implementation(getattr(given, "__name__", str(given)), given)
