"""Is the difference between two systems more than chance? Paired bootstrap resampling."""

from collections.abc import Sequence
from dataclasses import dataclass

from minitf.config.errors import UserError
from minitf.evaluation.metrics import bleu_metric, chrf_metric, ter_metric


@dataclass(frozen=True)
class Comparison:
    """One metric of two systems on the same sentences."""

    metric: str
    baseline: float
    baseline_interval: float
    """Half the width of the 95 % interval of the baseline's score over the resamples."""
    system: float
    system_interval: float
    p_value: float
    """Probability of a difference as large if both were equally good (Koehn 2004)."""
    signature: str


def paired_bootstrap(
    baseline: Sequence[str],
    system: Sequence[str],
    references: Sequence[str],
    *,
    tokenize: str = "13a",
    lowercase: bool = False,
    samples: int = 1000,
) -> list[Comparison]:
    """Compare two systems' translations of the same sentences, as sacrebleu does it.

    Args:
        baseline: The first system's translations.
        system: The second's.
        references: What both are measured against.
        tokenize: sacrebleu's tokenizer for BLEU.
        lowercase: Compare lower-cased text (TER always does).
        samples: Resamples; sacrebleu's seed is 12345, or SACREBLEU_SEED.

    Returns:
        BLEU, chrF and TER.

    Raises:
        UserError: The lists differ in length, or there are fewer than two sentences.
    """
    from sacrebleu.significance import PairedTest

    if not len(baseline) == len(system) == len(references):
        raise UserError(
            "two systems are compared on the same sentences: received "
            f"{len(baseline)} and {len(system)} translations, {len(references)} references"
        )
    if len(references) < 2 or samples < 1:
        raise UserError(
            "a paired bootstrap needs at least two sentences and one resample: received "
            f"{len(references)} and {samples}"
        )
    test = PairedTest(
        [("baseline", list(baseline)), ("system", list(system))],
        {
            "bleu": bleu_metric(tokenize=tokenize, lowercase=lowercase),
            "chrf": chrf_metric(lowercase=lowercase),
            "ter": ter_metric(),
        },
        [list(references)],
        test_type="bs",
        n_samples=samples,
    )
    signatures, results = test()
    return [
        Comparison(
            name,
            float(first.score),
            float(first.ci),
            float(second.score),
            float(second.ci),
            # Two equal systems never differ by more than they do, which sacrebleu counts as p = 0.
            1.0 if first.score == second.score else float(second.p_value),
            signatures[name].format(),
        )
        for name, (first, second) in results.items()
        if name != "System"
    ]
