"""What the bench shows: a table on the terminal, a JSON file, a plot."""

import json
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from minitf.bench.rows import HIGHER_IS_BETTER, Findings, Row
from minitf.config.whole_file import whole_file

HEADER = (
    "ratio: a row's median over the fastest alternative's of the same work (tokens/s, sentences/s: "
    "above 1 is faster; ms, s, MiB, %: below 1 is better). spread: interquartile range over median."
)


def print_findings(console: Console, found: Findings) -> None:
    """A table for each work, then what failed, then the remarks."""
    for work, rows in groupby(found.rows, key=lambda row: row.work):
        console.print(_table(work, list(rows)))
    for failure in found.failures:
        console.print(
            f"{failure.work} {failure.name}: {failure.reason}", markup=False, highlight=False
        )
    for remark in found.remarks:
        console.print(remark, markup=False, highlight=False)


def _table(work: str, rows: list[Row]) -> Table:
    """One work; columns that no row fills are left out."""
    cells = [_cells(row) for row in rows]
    table = Table(title=work, title_justify="left", box=box.SIMPLE_HEAD)
    headings = [heading for heading in cells[0] if any(row[heading] for row in cells)]
    table.add_column("name", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row, shown in zip(rows, cells, strict=True):
        table.add_row(row.name, *(shown[heading] for heading in headings))
    return table


def _cells(row: Row) -> dict[str, str]:
    digits = 0 if row.value >= 100 else 3
    return {
        "median": f"{row.value:,.{digits}f} {row.unit}",
        "spread": "" if row.spread is None else f"{row.spread:.0%}",
        "ratio": "" if row.ratio is None else f"{row.ratio:.3f}",
        "peak memory": "" if row.peak_memory is None else f"{row.peak_memory:,.0f} MiB",
        "of peak": "" if row.peak_share is None else f"{row.peak_share:.1%}",
        "note": row.note,
    }


def write_json(path: Path, found: Sequence[Findings], machine: dict[str, Any]) -> None:
    """`{"results": [rows], "failures": …, "remarks": …, "machine": …}`."""
    content = {
        "results": [row.as_json() for one in found for row in one.rows],
        "failures": [vars(failure) for one in found for failure in one.failures],
        "remarks": [HEADER, *(remark for one in found for remark in one.remarks)],
        "machine": machine,
    }
    with whole_file(path) as partial:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        partial.write_text(text, encoding="utf-8")


def plot(rows: Sequence[Row]) -> Any:
    """A figure with a panel of bars for each work and unit; minitf's are coloured.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    panels = [list(group) for _, group in groupby(rows, key=lambda row: (row.work, row.unit))]
    heights = [len(panel) + 1.6 for panel in panels]
    figure = Figure(figsize=(9, max(2.0, 0.3 * sum(heights))), layout="constrained")
    all_axes = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, panel in zip(all_axes, panels, strict=True):
        bars = axes.barh(
            [row.name for row in panel],
            [row.value for row in panel],
            xerr=[row.value * (row.spread or 0.0) / 2 for row in panel],
            color=["#d1495b" if row.own else "#8d99ae" for row in panel],
            error_kw={"ecolor": "#333333", "lw": 1},
        )
        labels = [
            f" {row.value:,.{0 if row.value >= 100 else 2}f}"
            + ("" if row.ratio is None else f"  ({row.ratio:.2f} ×)")
            for row in panel
        ]
        axes.bar_label(bars, labels, fontsize=8, padding=2)
        axes.set_xlim(0, max(row.value * (1 + (row.spread or 0.0) / 2) for row in panel) * 1.3)
        axes.invert_yaxis()
        way = "more" if panel[0].unit in HIGHER_IS_BETTER else "less"
        axes.set_title(
            f"{panel[0].work}, {panel[0].unit} ({way} is better)", fontsize=9, loc="left"
        )
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    return figure
