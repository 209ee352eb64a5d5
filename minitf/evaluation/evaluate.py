"""A model measured on parallel text: loss, translations, their scores, all by source length."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from minitf.config.errors import UserError
from minitf.evaluation.loss import CorpusLoss, sentence_losses, sum_losses
from minitf.evaluation.metrics import Score, corpus_scores
from minitf.evaluation.translator import Translator


@dataclass(frozen=True)
class LengthGroup:
    """The sentences whose sources have from `shortest` to `longest` tokens."""

    shortest: int
    longest: int
    sentences: int
    loss: float
    scores: dict[str, Score]


@dataclass(frozen=True)
class Evaluation:
    """What was found on one set of sentence pairs."""

    name: str
    model: str
    """Where the weights came from."""
    loss: CorpusLoss
    scores: dict[str, Score]
    by_length: list[LengthGroup]
    sources: list[str] = field(repr=False)
    references: list[str] = field(repr=False)
    translations: list[str] = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """All but the texts, as plain data."""
        return {"name": self.name, "model": self.model, **self.figures()}

    def figures(self) -> dict[str, Any]:
        """The figures as plain data."""
        return {
            "sentences": len(self.sources),
            "target_tokens": self.loss.num_tokens,
            "loss": self.loss.loss,
            "perplexity": self.loss.perplexity,
            **{name: score.value for name, score in self.scores.items()},
            "signatures": {name: score.signature for name, score in self.scores.items()},
            "by_source_length": [
                {
                    "tokens": [group.shortest, group.longest],
                    "sentences": group.sentences,
                    "loss": group.loss,
                    **{name: score.value for name, score in group.scores.items()},
                }
                for group in self.by_length
            ],
        }


def evaluate(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[str],
    *,
    name: str,
    tokenize: str | None = None,
    lowercase: bool | None = None,
    with_ter: bool = True,
    progress: Callable[[int], None] | None = None,
    **decoding: Any,
) -> Evaluation:
    """Measure a model on sentence pairs.

    Args:
        translator: The model.
        sources: Source sentences.
        references: Their translations.
        name: Of the set, for the report.
        tokenize: sacrebleu's tokenizer for BLEU; None: the run's `evaluation.tokenize`.
        lowercase: Compare lower-cased text; None: the run's `evaluation.lowercase`.
        with_ter: Compute TER too, which is slow on long sentences.
        progress: Called with the number of sentences translated, after each batch.
        decoding: Fields of DecodingConfig.

    Raises:
        UserError: The lists differ in length or are empty, or a sentence has more tokens than the
            model has positions.
    """
    if len(sources) != len(references) or not sources:
        raise UserError(
            f"{name}: as many references as sources are needed, at least one: "
            f"received {len(sources)} sources and {len(references)} references"
        )
    sources = [translator.as_trained(text) for text in sources]
    settings = translator.config.evaluation
    options: dict[str, Any] = {
        "tokenize": settings.tokenize if tokenize is None else tokenize,
        "lowercase": settings.lowercase if lowercase is None else lowercase,
    }
    lengths = _token_counts(translator, sources, name)
    forms = [translator.as_trained(text) for text in references]
    _token_counts(translator, forms, f"{name}, references")
    corpus_scores([""], [""], **options)  # a wrong option is told before the work, not after
    losses = sentence_losses(translator.model, translator.tokenizer, sources, forms)
    translations = [t.text for t in translator.translations(sources, progress=progress, **decoding)]

    def scores(rows: Sequence[int], with_ter: bool) -> dict[str, Score]:
        return corpus_scores(
            [translations[i] for i in rows],
            [references[i] for i in rows],
            with_ter=with_ter,
            **options,
        )

    groups = [
        LengthGroup(
            min(lengths[i] for i in rows),
            max(lengths[i] for i in rows),
            len(rows),
            sum_losses([losses[i] for i in rows]).loss,
            scores(rows, with_ter=False),
        )
        for rows in length_groups(lengths)
    ]
    return Evaluation(
        name,
        translator.origin,
        sum_losses(losses),
        scores(range(len(sources)), with_ter=with_ter),
        groups,
        list(sources),
        list(references),
        translations,
    )


def length_groups(lengths: Sequence[int], parts: int = 4) -> list[list[int]]:
    """Indices in up to `parts` groups of about equal size, by length; equal lengths stay together.

    >>> length_groups([3, 9, 3, 5, 4, 8], parts=3)
    [[0, 2], [4, 3], [5, 1]]
    """
    order = sorted(range(len(lengths)), key=lambda i: (lengths[i], i))
    groups: dict[int, list[int]] = {}
    done = 0
    for _, equal in itertools.groupby(order, key=lambda i: lengths[i]):
        rows = list(equal)
        part = int((done + len(rows) / 2) * parts / len(lengths))  # where their middle falls
        groups.setdefault(part, []).extend(rows)
        done += len(rows)
    return list(groups.values())


def _token_counts(translator: Translator, texts: Sequence[str], name: str) -> list[int]:
    counts = [len(ids) for ids in translator.tokenizer.encode_batch(list(texts))]
    most = translator.model.max_positions
    for number, count in enumerate(counts, start=1):
        if most is not None and count + 1 > most:
            raise UserError(
                f"line {number} of {name} has {count:,} tokens, more than the {most - 1:,} that "
                f"the model has positions for (model.max_length): leave the line out"
            )
    return counts
