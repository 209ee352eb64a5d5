"""What `minitf evaluate` prints."""

from collections.abc import Sequence

from rich.table import Table

from minitf.evaluation.evaluate import Evaluation
from minitf.evaluation.significance import Comparison


def score_table(found: Evaluation) -> Table:
    """One line: loss and scores of a set."""
    table = _table(
        found.name, "sentences", "loss", "perplexity", "BLEU", "chrF", "TER", "exact match"
    )
    table.add_row(
        f"{len(found.sources):,}",
        f"{found.loss.loss:.4f}",
        f"{found.loss.perplexity:.2f}",
        *(f"{found.scores[name].value:.2f}" for name in ("bleu", "chrf", "ter")),
        f"{found.scores['exact_match'].value:.1f}%",
    )
    return table


def length_table(found: Evaluation) -> Table:
    """A line for each group of source lengths."""
    table = _table("by source length", "tokens", "sentences", "loss", "BLEU", "chrF", "exact match")
    for group in found.by_length:
        table.add_row(
            f"{group.shortest}–{group.longest}",
            f"{group.sentences:,}",
            f"{group.loss:.4f}",
            *(f"{group.scores[name].value:.2f}" for name in ("bleu", "chrf")),
            f"{group.scores['exact_match'].value:.1f}%",
        )
    return table


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """A line for each metric of two systems."""
    table = _table("paired bootstrap", "metric", "first", "second", "difference", "p", "verdict")
    for c in comparisons:
        table.add_row(
            c.metric,
            f"{c.baseline:.2f} ± {c.baseline_interval:.2f}",
            f"{c.system:.2f} ± {c.system_interval:.2f}",
            f"{c.system - c.baseline:+.2f}",
            f"{c.p_value:.4f}",
            "differ" if c.p_value < 0.05 else "may be chance",
        )
    return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
