"""Translations as plain data, for JSON."""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

from minitf.evaluation.alignment import alignments
from minitf.evaluation.translate import Translation
from minitf.evaluation.translator import Translator


def json_records(
    translator: Translator, translations: Sequence[Translation]
) -> Iterator[dict[str, Any]]:
    """For each sentence: source, tokens, and hypotheses with text, tokens, scores, alignment.

    `alignment` holds for each target token the index of the source token that it looked at most; it
    is None where the attention gives no weights.
    """
    flat = [(t.source_ids, h.token_ids) for t in translations for h in t.hypotheses]
    model, tokenizer = translator.model, translator.tokenizer
    aligned: Iterator[list[int] | None]
    sources, targets = [source for source, _ in flat], [target for _, target in flat]
    try:
        aligned = iter(alignments(model, tokenizer, sources, targets))
    except ValueError:
        aligned = repeat(None)
    pieces = tokenizer.pieces
    for translation in translations:
        yield {
            "source": translation.source,
            "source_tokens": pieces(translation.source_ids),
            "translation": translation.text,
            "hypotheses": [
                {
                    "text": hypothesis.text,
                    "score": hypothesis.score,
                    "log_prob": hypothesis.log_prob,
                    "finished": hypothesis.finished,
                    "tokens": pieces(hypothesis.token_ids),
                    "alignment": next(aligned),
                }
                for hypothesis in translation.hypotheses
            ],
        }
