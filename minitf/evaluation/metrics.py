"""Corpus scores: BLEU, chrF and TER as sacrebleu computes them, and exact match.

Each score carries sacrebleu's signature (Post 2018, "A Call for Clarity in Reporting BLEU Scores"):
two figures are comparable where their signatures are equal.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minitf.config.errors import UserError


@dataclass(frozen=True)
class Score:
    """A figure, and what it takes to compute it again."""

    name: str
    value: float
    """BLEU, chrF, exact match: 0 to 100, higher is better. TER: 0 and up, lower is better."""
    signature: str


def bleu(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
) -> Score:
    """BLEU (Papineni et al. 2002) with one reference.

    Args:
        hypotheses: Translations, one per sentence.
        references: The reference of each.
        tokenize: sacrebleu's tokenizer: `13a`, `intl`, `char`, …; `none` for text that is
            tokenised already.
        lowercase: Compare lower-cased text.

    Raises:
        UserError: The lists differ in length or are empty, or sacrebleu has no such tokenizer.
    """
    return _corpus_score(
        bleu_metric(tokenize=tokenize, lowercase=lowercase), hypotheses, references
    )


def chrf(hypotheses: Sequence[str], references: Sequence[str], *, lowercase: bool = False) -> Score:
    """chrF2 (Popovic 2015): F-score of character n-grams up to 6; see `bleu` for the arguments."""
    return _corpus_score(chrf_metric(lowercase=lowercase), hypotheses, references)


def ter(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Translation edit rate (Snover et al. 2006) in sacrebleu's default form: lower-cased."""
    return _corpus_score(ter_metric(), hypotheses, references)


def exact_match(
    hypotheses: Sequence[str], references: Sequence[str], *, lowercase: bool = False
) -> Score:
    """Share of sentences, in percent, equal to their reference but for outer white space."""
    _check_corpus(hypotheses, references)
    normalize: Callable[[str], str] = (lambda s: s.strip().lower()) if lowercase else str.strip
    equal = sum(normalize(h) == normalize(r) for h, r in zip(hypotheses, references, strict=True))
    signature = f"nrefs:1|case:{'lc' if lowercase else 'mixed'}"
    return Score("exact_match", 100.0 * equal / len(references), signature)


def corpus_scores(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
    with_ter: bool = False,
) -> dict[str, Score]:
    """BLEU, chrF, exact match and, where asked, TER (slow on long sentences), by name."""
    scores = [
        bleu(hypotheses, references, tokenize=tokenize, lowercase=lowercase),
        chrf(hypotheses, references, lowercase=lowercase),
        exact_match(hypotheses, references, lowercase=lowercase),
    ]
    if with_ter:
        scores.append(ter(hypotheses, references))
    return {score.name: score for score in scores}


def bleu_metric(*, tokenize: str = "13a", lowercase: bool = False) -> Any:
    """The BLEU object of sacrebleu, as its significance test takes it."""
    from sacrebleu.metrics import BLEU

    # Those made of sentencepiece's models would download one.
    known = sorted(
        n for n in BLEU.TOKENIZERS if not any(s in n for s in ("spm", "flores", "spBLEU"))
    )
    if tokenize not in known:
        raise UserError(
            f"evaluation.tokenize={tokenize!r}: sacrebleu has no such tokenizer; "
            f"there is: {', '.join(known)}"
        )
    # force: sacrebleu warns about text that looks tokenised; here the signature says it.
    try:
        return BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    except (ImportError, RuntimeError) as error:  # Japanese and Korean need packages of their own
        reason = " ".join(str(error).split())
        raise UserError(f"evaluation.tokenize={tokenize!r}: {reason}") from error


def chrf_metric(*, lowercase: bool = False) -> Any:
    """The chrF object of sacrebleu."""
    from sacrebleu.metrics import CHRF

    return CHRF(lowercase=lowercase)


def ter_metric() -> Any:
    """The TER object of sacrebleu."""
    from sacrebleu.metrics import TER

    return TER()


def _corpus_score(metric: Any, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    _check_corpus(hypotheses, references)
    result = metric.corpus_score(list(hypotheses), [list(references)])
    name = type(metric).__name__.lower()
    return Score(name, float(result.score), metric.get_signature().format())


def _check_corpus(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if len(hypotheses) != len(references):
        raise UserError(
            f"each translation needs one reference: received {len(hypotheses)} translations and "
            f"{len(references)} references; give files with as many lines"
        )
    if not references:
        raise UserError("a score needs at least one sentence: received none")
