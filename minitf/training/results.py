"""What a run found: scores on every test split, sample translations, results.json."""

import json
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from minitf.config.whole_file import whole_file
from minitf.evaluation.evaluate import Evaluation
from minitf.training.environment import environment


def print_results(console: Console, results: dict[str, Evaluation], samples: int) -> None:
    """The table of scores, their signatures, and samples of the first split."""
    table = Table(title="test results", title_justify="left")
    for heading in ("split", "sentences", "loss", "BLEU", "chrF", "exact match"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for name, result in results.items():
        table.add_row(
            name,
            str(len(result.sources)),
            f"{result.loss.loss:.4f}",
            f"{result.scores['bleu'].value:.2f}",
            f"{result.scores['chrf'].value:.2f}",
            f"{result.scores['exact_match'].value:.1f}%",
        )
    console.print(table)
    first = next(iter(results.values()))
    for name in ("bleu", "chrf"):
        console.print(f"{name} [{first.scores[name].signature}]", highlight=False)
    if samples:
        console.print(f"\n{samples_text(first, samples)}", highlight=False, end="")


def samples_text(result: Evaluation, number: int) -> str:
    """Sources, translations and references, evenly taken from a split."""
    count = min(number, len(result.sources))
    lines = []
    for index in (i * len(result.sources) // count for i in range(count)):
        translation, reference = result.translations[index], result.references[index]
        verdict = "=" if translation == reference else "≠"
        lines += [
            f"source      {result.sources[index]}",
            f"translation {translation}",
            f"reference {verdict} {reference}",
            "",
        ]
    return "\n".join(lines)


def results_keys() -> set[str]:
    """The keys of results.json beside the test splits' names."""
    run = {"updates", "parameters", "train_seconds", "tokens_per_second"}
    return run.union(environment(torch.device("cpu")))


def write_results(path: Path, results: dict[str, Evaluation], run: dict[str, Any]) -> None:
    """results.json: the figures of each test split by its name, and what the run took."""
    content = {**{name: result.figures() for name, result in results.items()}, **run}
    with whole_file(path) as partial:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        partial.write_text(text, encoding="utf-8")
