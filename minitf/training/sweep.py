"""What a run knows of the sweep it belongs to."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from minitf.training.directory import shown


class Sweep(NamedTuple):
    """A place in `python train.py -m …`; wandb shows the runs of a sweep as one group."""

    group: str
    """The sweep's name."""
    name: str
    """The run's name in it: the overrides that it got."""


def short_names(names: Sequence[str]) -> list[str]:
    """The runs of a sweep by the overrides that not all of them have."""
    words = [name.split() for name in names]
    common = set(words[0]).intersection(*words[1:]) if len(words) > 1 else set()
    return [" ".join(word for word in own if word not in common) for own in words]


def print_summary(
    runs: Sequence[tuple[str, Path]], failed: Sequence[str], console: Console
) -> None:
    """One line for each run of a sweep: its scores on each test split, and its folder.

    Args:
        runs: the runs that came to their end, by name and folder; each holds a results.json.
        failed: the names of the others.
        console: where the table goes.
    """
    files = [folder / "results.json" for _, folder in runs]
    results = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    names = short_names([name for name, _ in runs] + list(failed))
    splits = [key for key, value in results[0].items() if isinstance(value, dict)]
    table = Table(title="the sweep's runs", title_justify="left")
    table.add_column("run", overflow="fold")
    for split in splits:
        table.add_column(f"{split}\nloss", justify="right")
        table.add_column("\nBLEU", justify="right")
    table.add_column("\nfolder", overflow="fold")
    for (_, folder), result, name in zip(runs, results, names[: len(runs)], strict=True):
        found = [result.get(split, {}) for split in splits]  # a sweep over data has others too
        scores = [f"{of[key]:.{digits}f}" if key in of else "-"
                  for of in found for key, digits in (("loss", 4), ("bleu", 2))]  # fmt: skip
        table.add_row(name, *scores, shown(folder))
    for name in names[len(runs) :]:
        table.add_row(name, *["-" for _ in splits for _ in range(2)], "failed")
    console.print()
    console.print(table)
