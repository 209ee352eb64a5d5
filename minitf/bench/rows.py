"""The figures that every work of the bench ends in, and how two of them are compared."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

HIGHER_IS_BETTER = ("tokens/s", "sentences/s")
"""Of every other unit (ms, s, MiB, % padding) less is better."""


@dataclass(frozen=True)
class Row:
    """One implementation in one work."""

    work: str
    """What was done, as in `training/tiny/float32/cpu`."""
    name: str
    """Who did it; this project's own names begin with `minitf`."""
    value: float
    """Median over the rounds."""
    unit: str
    ratio: float | None = None
    """`value` over the fastest alternative's of the same work; None where there is none."""
    spread: float | None = None
    """Interquartile range over the median; None where it was measured once."""
    peak_memory: float | None = None
    """MiB: the process' largest resident set, or what the CUDA allocator had handed out."""
    peak_share: float | None = None
    """Share of the hardware's peak arithmetic that was used."""
    note: str = ""

    @property
    def own(self) -> bool:
        """Whether it is this project's."""
        return self.name.startswith("minitf")

    def as_json(self) -> dict[str, Any]:
        """What `--json` writes of it: floats to six digits, no empty note."""
        found = {key: _rounded(value) for key, value in asdict(self).items()}
        if not self.note:
            del found["note"]
        return found


@dataclass(frozen=True)
class Failure:
    """An implementation that could not be measured."""

    work: str
    name: str
    reason: str
    """One line."""


@dataclass(frozen=True)
class Findings:
    """What one work of the bench found."""

    rows: list[Row]
    failures: list[Failure]
    remarks: list[str]
    """Lines for under the table: formulas, the peak that was taken, the data."""


def median_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """The median, and the interquartile range over it (0 for fewer than two values).

    >>> median_and_spread([1.0, 2.0, 3.0])
    (2.0, 1.0)
    """
    median = statistics.median(values)
    if len(values) < 2:
        return median, 0.0
    low, _, high = statistics.quantiles(values, n=4)
    return median, (high - low) / median if median else 0.0


def with_ratios(rows: Iterable[Row]) -> list[Row]:
    """The rows, each with its ratio to the fastest alternative of its own work and unit."""
    rows = list(rows)
    fastest: dict[tuple[str, str], float] = {}
    for row in rows:
        if not row.own:
            key = (row.work, row.unit)
            better = max if row.unit in HIGHER_IS_BETTER else min
            fastest[key] = better(fastest.get(key, row.value), row.value)
    return [
        replace(row, ratio=row.value / best) if (best := fastest.get((row.work, row.unit))) else row
        for row in rows
    ]


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
