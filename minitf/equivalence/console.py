"""The verification on a terminal."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from minitf.equivalence.report import Cell, LevelReport, Report, Table
from minitf.equivalence.verdict import Verdict

_STYLE = {
    Verdict.bit_identical: "bold green",
    Verdict.within_rounding: "green",
    Verdict.different: "bold red",
    Verdict.not_run: "yellow",
}


def print_level(console: Console, report: LevelReport) -> None:
    """One level, as soon as it is done."""
    verdict = report.verdict
    shown = "not judged" if verdict is Verdict.not_run else verdict.value
    if report.level == "properties" and verdict.equivalent:
        shown = "hold"
    console.print(
        f"\n[bold]{escape(report.title)}[/] · [{_STYLE[verdict]}]{shown}[/] · "
        f"{escape(report.summary)} [dim]({report.seconds:.1f} s)[/]",
        highlight=False,
    )
    for finding in report.findings:
        mark = "[red]✗" if verdict is Verdict.different else "[yellow]?"
        console.print(f"  {mark} {escape(finding)}[/]", highlight=False)
    for table in report.tables:
        if not table.folded and report.level != "properties":
            console.print(_table(table))
    for note in report.notes:
        console.print(f"  [dim]· {escape(note)}[/]", highlight=False)


def _table(table: Table) -> RichTable:
    shown = RichTable(box=None, header_style="dim", pad_edge=False, padding=(0, 1))
    for number, column in enumerate(table.columns):
        shown.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for row in table.rows:
        shown.add_row(*(escape(text(cell)) for cell in row))
    return shown


def text(cell: Cell) -> str:
    """A table's cell as text: four digits are enough."""
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def print_verdict(console: Console, report: Report) -> None:
    """The rules, and the one line of verdict."""
    console.print("\n[dim]" + escape(" ".join(report.rules.values())) + "[/]", highlight=False)
    style = {0: "bold green", 1: "bold red"}.get(report.exit_code, "bold yellow")
    console.print(f"\n[{style}]{escape(report.statement)}[/]", highlight=False)
