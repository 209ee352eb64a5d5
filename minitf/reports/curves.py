"""The training curves of a run, from its metrics.csv."""

import csv
from pathlib import Path
from typing import Any


def read_metrics(path: Path) -> dict[str, tuple[list[int], list[float]]]:
    """Each metric's updates and values, in the order they were logged.

    Args:
        path: the run's metrics.csv.
    """
    found: dict[str, tuple[list[int], list[float]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            for name, value in row.items():
                if name != "step" and value not in ("", None):
                    steps, values = found.setdefault(name, ([], []))
                    steps.append(int(row["step"]))
                    values.append(float(value))
    return found


def training_curves(metrics: dict[str, tuple[list[int], list[float]]]) -> Any:
    """A figure with loss, validation BLEU, learning rate and gradient norm over the updates.

    Args:
        metrics: what `read_metrics` gave.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    panels: list[tuple[str, list[str]]] = [
        ("loss, nats per target token", ["train/loss", "train/nll", "val/loss"]),
        ("BLEU on validation, greedy", ["val/bleu"]),
        ("learning rate", ["train/lr"]),
        ("gradient norm", ["train/grad_norm"]),
    ]
    shown = [(title, names) for title, names in panels if any(n in metrics for n in names)]
    rows = max(1, (len(shown) + 1) // 2)
    figure = Figure(figsize=(10, 3.2 * rows), layout="constrained")
    for position, (title, names) in enumerate(shown, start=1):
        axes = figure.add_subplot(rows, min(2, len(shown)), position)
        for name in names:
            if name in metrics:
                steps, values = metrics[name]
                few = len(steps) < 40
                # The two losses of training may lie on each other: the one below must show.
                broad = {"linewidth": 4, "alpha": 0.4} if name == "train/loss" else {}
                style: dict[str, Any] = {"linewidth": 1.4, "marker": "." if few else None, **broad}
                axes.plot(steps, values, label=name, **style)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("update")
        axes.grid(alpha=0.3)
        if len(names) > 1:  # the losses, which end far from 0; beside them there may be no room
            axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=3)
        else:
            axes.set_ylim(bottom=0)
    return figure
