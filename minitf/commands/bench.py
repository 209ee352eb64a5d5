"""`minitf bench`: this machine's speed and memory, minitf and the alternatives side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minitf.commands.arguments import Parser

_EPILOG = """\
attention: the custom module's kernels against torch.nn.MultiheadAttention, interleaved, one call
each per round. Times are medians; ratio is to torch's module in the same rounds, below 1 is
faster; spread is the interquartile range over the median.

examples:
  minitf bench attention --quick
  minitf bench attention --json attention.json"""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = Parser("bench", "Measure this machine.", _EPILOG)
    parser.add_argument("work", choices=["attention"], help="what to measure")
    parser.add_argument("--quick", action="store_true", help="about a minute on two cores")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows to it")
    arguments = parser.parse_args(argv)

    import torch

    from minitf.bench.attention import run

    rows = run(quick=arguments.quick)
    _print(rows, f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if arguments.json:
        arguments.json.write_text(json.dumps({"results": rows}, indent=2) + "\n")
    return 0


def _print(rows: list[dict[str, Any]], caption: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("work", "name", caption=caption, caption_justify="left")
    for heading in ("median", "ratio", "spread"):
        table.add_column(heading, justify="right")
    previous = None
    for row in rows:
        if row["work"] != previous and previous is not None:
            table.add_section()
        table.add_row(
            row["work"] if row["work"] != previous else "",
            row["name"],
            f"{row['value']:,.3f} {row['unit']}",
            f"{row['ratio']:.3f}",
            f"±{row['spread']:.0%}",
        )
        previous = row["work"]
    Console(soft_wrap=False).print(table)
