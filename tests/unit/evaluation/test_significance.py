"""The paired bootstrap tells a real difference from none."""

import random

import pytest

from minitf.config.errors import UserError
from minitf.evaluation import metrics
from minitf.evaluation.significance import paired_bootstrap

WORDS = ["der", "Hund", "läuft", "heute", "schnell", "durch", "den", "Park", "am", "See"]


def corpus(seed, sentences=60, errors=0.0):
    """References, and translations in which a share of the words is wrong."""
    source, noise = random.Random(11), random.Random(seed)
    references = [[source.choice(WORDS) for _ in range(9)] for _ in range(sentences)]
    translations = [["x" if noise.random() < errors else w for w in r] for r in references]
    return [" ".join(r) for r in references], [" ".join(t) for t in translations]


def test_a_clear_difference_is_significant_and_scores_are_the_metrics_own():
    references, good = corpus(1, errors=0.1)
    _, bad = corpus(2, errors=0.4)
    found = {c.metric: c for c in paired_bootstrap(good, bad, references, samples=200)}
    assert sorted(found) == ["BLEU", "TER", "chrF2"]
    assert found["BLEU"].baseline == pytest.approx(metrics.bleu(good, references).value)
    assert found["TER"].system == pytest.approx(metrics.ter(bad, references).value)
    assert all(c.p_value < 0.01 for c in found.values())
    assert all(c.baseline_interval > 0 for c in found.values())
    assert "bs:200" in found["BLEU"].signature


def test_equal_quality_is_not_significant():
    references, one = corpus(1, errors=0.2)
    _, other = corpus(2, errors=0.2)
    for comparison in paired_bootstrap(one, other, references, samples=200):
        assert comparison.p_value > 0.05


def test_equal_systems_do_not_differ():
    references, one = corpus(1, errors=0.2)
    assert [c.p_value for c in paired_bootstrap(one, one, references, samples=20)] == [1.0] * 3


def test_the_same_again_gives_the_same_p():
    references, one = corpus(1, errors=0.2)
    _, other = corpus(2, errors=0.25)
    assert paired_bootstrap(one, other, references, samples=50) == paired_bootstrap(
        one, other, references, samples=50
    )


@pytest.mark.parametrize(
    ("baseline", "system", "references", "samples"),
    [
        (["a"], ["a", "b"], ["a"], 9),
        (["a"], ["a"], ["a", "b"], 9),
        (["a"], ["a"], ["a"], 9),
        ([], [], [], 9),
        (["a", "b"], ["a", "b"], ["a", "b"], 0),
    ],
)
def test_what_cannot_be_compared_is_refused(baseline, system, references, samples):
    with pytest.raises(UserError):
        paired_bootstrap(baseline, system, references, samples=samples)
