"""Whether a level can compare two sides at all; where it cannot, its report says why."""

from collections.abc import Sequence

from torch import nn

from minitf.equivalence.implementations import Implementation
from minitf.equivalence.oracle import has_torch_names
from minitf.equivalence.report import LevelReport
from minitf.equivalence.verdict import Verdict, worst

_SHOWN_NAMES = 4


def why_not_comparable(
    level: str, reference: Implementation, candidate: Implementation, embed_dim: int, num_heads: int
) -> str:
    """Why a level cannot judge two sides; empty where it can.

    All levels but properties give both one set of weights, and all but training ask the oracle,
    which knows torch's names alone.

    Raises:
        UserError: one of them cannot be built.
    """
    if level == "properties":
        return ""
    theirs, its = (
        side(embed_dim, num_heads, dropout=0.0, batch_first=True) for side in (reference, candidate)
    )
    if other := _other_parameters(theirs, its):
        return (
            f"the two do not share their parameters ({other}), so outputs cannot be compared: "
            "level=properties checks what holds of any attention, though not its formula"
        )
    if level != "training" and not has_torch_names(dict(theirs.named_parameters())):
        return (
            "the reference has other parameters than torch's, by whose names the oracle computes: "
            "level=training compares any two that share their parameters"
        )
    return ""


def _other_parameters(reference: nn.Module, candidate: nn.Module) -> str:
    """What the candidate's state_dict lacks or adds, or has in another shape."""
    wanted = reference.state_dict()
    try:
        candidate.load_state_dict(wanted, strict=True)
    except RuntimeError as error:
        differing = sorted(wanted.keys() ^ candidate.state_dict().keys())
        if not differing:
            return " ".join(str(error).split())
        more = ", …" if len(differing) > _SHOWN_NAMES else ""
        return ", ".join(differing[:_SHOWN_NAMES]) + more
    return ""


def not_judged(level: str, reason: str) -> LevelReport:
    """The report of a level that could not judge."""
    return LevelReport(level, level.capitalize(), Verdict.not_run, "not compared", [reason])


def overall(reports: Sequence[LevelReport]) -> Verdict:
    """The worst of all levels; properties that cannot see the formula say nothing beside others."""
    telling = [
        r for r in reports if r.level != "properties" or r.verdict is not Verdict.not_run
    ]  # fmt: skip
    return worst([report.verdict for report in telling or reports])
