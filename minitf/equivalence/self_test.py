"""`minitf verify --self-test`: is the verdict to be trusted? Plant bugs, and see."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape

from minitf.equivalence.certify import Verification
from minitf.equivalence.implementations import Implementation, resolve
from minitf.equivalence.planted_bugs import BUGS, HARMLESS
from minitf.equivalence.planting import Planted
from minitf.equivalence.process_state import process_state_kept
from minitf.equivalence.report import LevelReport
from minitf.equivalence.settings import VerifySettings
from minitf.equivalence.verdict import Verdict

SEARCH_ORDER = ("op", "properties", "model", "decoding", "training")
"""Levels are tried in this order until one catches the bug."""


@dataclass(frozen=True)
class SelfTestResult:
    """What verify said of one planted change."""

    name: str
    is_bug: bool
    level: str
    """The level that caught it, empty where none did."""
    finding: str
    seconds: float

    @property
    def right(self) -> bool:
        """A bug was caught, or a harmless change passed."""
        return self.is_bug == bool(self.level)


def run_self_test(
    settings: VerifySettings, progress: Callable[[SelfTestResult], None] | None = None
) -> list[SelfTestResult]:
    """Judge every planted bug, and every harmless change, against the reference.

    Bugs are judged in float32 unless a dtype is given; harmless changes in every data type, at
    every level.
    """
    narrow = (
        settings if settings.dtype != "auto" else dataclasses.replace(settings, dtype="float32")
    )
    results = []
    for is_bug, changes in ((True, BUGS), (False, HARMLESS)):
        for change in changes:
            start = time.monotonic()
            candidate = _candidate(change, settings)
            with process_state_kept(settings.threads, settings.torch_device):
                level, finding = _judge(narrow if is_bug else settings, candidate)
            seconds = time.monotonic() - start
            results.append(SelfTestResult(change.name, is_bug, level, finding, seconds))
            if progress:
                progress(results[-1])
    return results


def _candidate(change: Planted, settings: VerifySettings) -> Implementation:
    options = {k: v for k, v in settings.candidate.items() if k not in ("name", "_target_")}
    return change.implementation(**options)


def _judge(settings: VerifySettings, candidate: Implementation) -> tuple[str, str]:
    """The first level that finds the candidate different, and its finding."""
    reference = resolve("reference", settings.reference)
    verification = Verification(settings, reference, candidate)
    for report in _levels(verification, settings):
        if report.verdict is Verdict.different:
            return report.title, "; ".join(
                report.findings[:2] if report.level == "op" else report.findings[:1]
            )
    return "", ""


def _levels(verification: Verification, settings: VerifySettings) -> Iterator[LevelReport]:
    for level in SEARCH_ORDER:
        if level in settings.levels:
            yield from verification.run(level)


def print_result(console: Console, result: SelfTestResult) -> None:
    """One line for each planted change."""
    mark = "[green]✓[/]" if result.right else "[bold red]✗[/]"
    if result.is_bug:
        said = f"caught · {result.level} · {result.finding}" if result.level else "NOT CAUGHT"
    else:
        said = f"FALSE ALARM · {result.finding}" if result.level else "passes, as it must"
    console.print(f"{mark} {escape(result.name)}", highlight=False)
    console.print(f"    [dim]{escape(said)} ({result.seconds:.1f} s)[/]", highlight=False)


def conclude(console: Console, results: list[SelfTestResult]) -> int:
    """Both counts, and the exit code: 0 only if every verdict was right."""
    bugs = [r for r in results if r.is_bug]
    harmless = [r for r in results if not r.is_bug]
    caught, passed = sum(r.right for r in bugs), sum(r.right for r in harmless)
    right = caught == len(bugs) and passed == len(harmless)
    style = "bold green" if right else "bold red"
    console.print(
        f"\n[{style}]{caught} of {len(bugs)} planted bugs caught, {passed} of {len(harmless)} "
        f"correct but different implementations passed[/]",
        highlight=False,
    )
    return 0 if right else 1
