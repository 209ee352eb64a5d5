"""What a run found: scores on every test split, sample translations, results.json."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from minitf.config.schema import EvaluationConfig
from minitf.config.whole_file import whole_file
from minitf.evaluation.loss import corpus_loss
from minitf.evaluation.metrics import Score, corpus_scores
from minitf.evaluation.translate import translate_texts
from minitf.model import Transformer
from minitf.tokenizer import TextTokenizer
from minitf.training.environment import environment


@dataclass
class SplitResult:
    """Loss, scores and translations of one test split."""

    loss: float
    perplexity: float
    scores: dict[str, Score]
    sources: list[str] = field(repr=False)
    references: list[str] = field(repr=False)
    translations: list[str] = field(repr=False)

    def figures(self) -> dict[str, Any]:
        """What results.json holds of it."""
        return {
            "sentences": len(self.sources),
            "loss": self.loss,
            "perplexity": self.perplexity,
            **{name: score.value for name, score in self.scores.items()},
            "signatures": {name: score.signature for name, score in self.scores.items()},
        }


def evaluate_split(
    model: Transformer,
    tokenizer: TextTokenizer,
    sources: list[str],
    references: list[str],
    config: EvaluationConfig,
    device: torch.device,
) -> SplitResult:
    """Loss and translations of a split, scored."""
    loss = corpus_loss(model, tokenizer, sources, references, device=device)
    translations = [
        t.text for t in translate_texts(model, tokenizer, sources, config.decoding, device)
    ]
    scores = corpus_scores(
        translations, references, tokenize=config.tokenize, lowercase=config.lowercase
    )
    return SplitResult(loss.loss, loss.perplexity, scores, sources, references, translations)


def print_results(console: Console, results: dict[str, SplitResult], samples: int) -> None:
    """The table of scores, their signatures, and samples of the first split."""
    table = Table(title="test results", title_justify="left")
    for heading in ("split", "sentences", "loss", "BLEU", "chrF", "exact match"):
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for name, result in results.items():
        table.add_row(
            name,
            str(len(result.sources)),
            f"{result.loss:.4f}",
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


def samples_text(result: SplitResult, number: int) -> str:
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


def write_results(path: Path, results: dict[str, SplitResult], run: dict[str, Any]) -> None:
    """results.json: the figures of each test split by its name, and what the run took."""
    figures = {name: result.figures() for name, result in results.items()}
    content = {**figures, **run}
    with whole_file(path) as partial:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        partial.write_text(text, encoding="utf-8")
