"""What a verification found, as plain data: the schema of report.json.

schema        "minitf.verify/1"; the number grows when a key changes its meaning
verdict       "equivalent", "not equivalent" or "not judged"
statement     the verdict in one line
exit_code     0, 1 or 2, in that order
command       reproduces the report
created       UTC, ISO 8601;  seconds: how long it took
reference     label, class and options;  candidate: likewise
settings      every key of `minitf verify`, resolved
environment   versions, device, threads
rules         the rules of judgement, in words, of the levels that were run
levels        one entry for each level and data type that was run:
    level, title, verdict, seconds
    summary     one line
    findings    what is wrong, most telling first; empty where nothing is
    notes       what differs without being wrong
    tables      title, columns, rows (numbers and strings), folded (details)
    curves      training only: run -> measure -> value at each step; and envelope
known_differences   documented ones that were met
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from minitf.equivalence.verdict import Verdict

SCHEMA = "minitf.verify/1"

Cell = str | int | float | bool


@dataclass
class Table:
    """Rows under a title."""

    title: str
    columns: list[str]
    rows: list[list[Cell]]
    folded: bool = False
    """Whether it is detail, shown on demand."""


@dataclass
class LevelReport:
    """One level in one data type."""

    level: str
    title: str
    verdict: Verdict
    summary: str
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass
class Report:
    """A whole verification."""

    verdict: str
    statement: str
    exit_code: int
    command: str
    created: str
    seconds: float
    reference: dict[str, Any]
    candidate: dict[str, Any]
    settings: dict[str, Any]
    environment: dict[str, Any]
    rules: dict[str, str]
    levels: list[LevelReport]
    known_differences: list[str]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON takes it: infinities and NaN as strings."""
        plain = _finite({"schema": SCHEMA, **asdict(self)})
        assert isinstance(plain, dict)
        return plain


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, Verdict):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
