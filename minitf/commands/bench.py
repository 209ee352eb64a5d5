"""`minitf bench`: this machine's speed and memory, minitf and the alternatives side by side."""

import argparse
import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minitf.commands.arguments import Parser
from minitf.config.errors import UserError

if TYPE_CHECKING:
    from minitf.bench.rows import Findings

WORKS = {
    "training": "target tokens per second of an update, against every alternative",
    "attention": "the custom module's kernels against torch.nn.MultiheadAttention",
    "decoding": "greedy and beam 5, against transformers and CTranslate2 on equal weights",
    "padding": "its share of the positions that training computes, against plain ways of batching",
    "startup": "seconds from the command to the first update, on data seen before",
}
"""What can be measured, each by `minitf.bench.NAME`."""

_EPILOG = f"""\
works (all of them if none is named):
{chr(10).join(f"  {name:<10} {text}" for name, text in WORKS.items())}

Data, batching and model are set as for `python train.py`: `experiment=…`, `data=…`, `model=…`,
`batching.tokens=…`. Each implementation runs in a process of its own, and they take turns.
ratio is a row's median over the fastest alternative's of the same work: for tokens/s above 1 is
faster, for ms below 1.

examples:
  minitf bench training --quick
  minitf bench training experiment=multi30k_tiny data.root=DIR --json training.json
  minitf bench decoding --run outputs/latest --plot decoding.pdf"""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    works, overrides, arguments = parse(argv)
    from rich.console import Console

    from minitf.bench.report import HEADER, plot, print_findings, write_json
    from minitf.reports.picture import check_picture

    check_picture(arguments.plot)
    if (file := arguments.json) is not None and (file.is_dir() or not file.parent.is_dir()):
        kind = "it is a directory" if file.is_dir() else f"there is no {file.parent}"
        raise UserError(f"bench: --json {file} cannot be written: {kind}")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers are started after its use
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(HEADER, highlight=False)
    found: list[Findings] = []
    for work in works:
        found.append(_run(work, overrides, arguments, alone=len(works) == 1))
        print_findings(console, found[-1])
        if arguments.json:  # after each: what follows may be stopped
            write_json(arguments.json, found, _machine())
    rows = [row for one in found for row in one.rows]
    if rows:
        plot(rows).savefig(arguments.plot, dpi=150)
        console.print(f"wrote {arguments.plot}", highlight=False)
    return 0 if rows else 1


def parse(argv: Sequence[str]) -> tuple[list[str], list[str], argparse.Namespace]:
    """Works, overrides, and the options.

    Raises:
        UserError: no such work or option.
    """
    parser = Parser("bench", "Measure this machine.", _EPILOG)
    parser.add_argument("words", nargs="*", metavar="WORK | KEY=VALUE", help="see below")
    parser.add_argument("--quick", action="store_true", help="about two minutes a work")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows to it")
    parser.add_argument("--plot", metavar="FILE", type=Path, default=Path("bench.png"),
                        help="draw the rows into it (default bench.png)")  # fmt: skip
    parser.add_argument(
        "--compile",
        action="store_true",
        help="training: also under torch.compile, and on a GPU with CUDA graphs, where four take "
        "turns at a time (takes minutes)",
    )
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        help="training: this one alone (default both, with --quick float32)",
    )
    parser.add_argument(
        "--run",
        metavar="DIR",
        type=Path,
        help="decoding: a trained run (default: a small one is trained first)",
    )
    arguments = parser.parse_intermixed_args(argv)
    overrides = [word for word in arguments.words if "=" in word]
    works = [word for word in arguments.words if "=" not in word]
    for work in works:
        if work not in WORKS:
            raise UserError(
                f"bench: there is no work {work!r}; there is: {', '.join(WORKS)}; "
                "an override reads KEY=VALUE"
            )
    works = works or list(WORKS)
    if works == ["decoding"] and arguments.run and overrides:
        raise UserError(f"bench decoding: --run sets data and model; leave out {overrides[0]}")
    if works == ["attention"] and overrides:
        raise UserError(f"bench attention measures shapes of its own; leave out {overrides[0]}")
    for option, given, work in (
        ("--run", arguments.run, "decoding"),
        ("--compile", arguments.compile, "training"),
        ("--precision", arguments.precision, "training"),
    ):
        if given and work not in works:
            raise UserError(f"bench: {option} is for {work} alone; leave it out, or name {work}")
    return works, overrides, arguments


def _run(
    work: str, overrides: list[str], arguments: argparse.Namespace, *, alone: bool
) -> "Findings":
    """One work; of several, one that cannot be done does not keep the others back."""
    from minitf.bench.rows import Failure, Findings

    run: Any = importlib.import_module(f"minitf.bench.{work}").run
    options: dict[str, Any] = {} if work == "attention" else {"overrides": overrides}
    if work == "training":
        options["compile"] = arguments.compile
        options["precision"] = arguments.precision
    if work == "decoding":
        options["run_dir"] = arguments.run
    try:
        found: Findings = run(arguments.quick, **options)
    except UserError as error:
        if alone:
            raise
        return Findings([], [Failure(work, "minitf", str(error))], [])
    return found


def _machine() -> dict[str, Any]:
    import torch

    from minitf.training.environment import environment

    return environment(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
