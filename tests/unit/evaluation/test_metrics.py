"""Scores are sacrebleu's own, and say with what options they were computed."""

import pytest

from minitf.config.errors import UserError
from minitf.evaluation import metrics

HYPOTHESES = ["Der Hund läuft schnell durch den Park .", "Eine Frau liest", "Zwei Kinder"]
REFERENCES = ["Der Hund läuft schnell durch einen Park .", "Eine Frau liest", "zwei Kinder"]


def test_equal_text_scores_the_best_that_there_is():
    text = ["Der Hund läuft schnell durch den Park .", "Eine Frau liest ein dickes Buch ."]
    scores = metrics.corpus_scores(text, text, with_ter=True)
    assert {name: round(score.value, 6) for name, score in scores.items()} == {
        "bleu": 100.0,
        "chrf": 100.0,
        "exact_match": 100.0,
        "ter": 0.0,
    }


def test_bleu_worked_out_by_hand():
    # 9 of 10 words, 7 of 8 bigrams, 5 of 6 trigrams, 4 of 5 four-grams match; equal lengths.
    hypothesis = ["a b c d e f g h", "i j"]
    reference = ["a b c d e f g x", "i j"]
    by_hand = 100 * ((9 / 10) * (7 / 8) * (5 / 6) * (4 / 5)) ** (1 / 4)
    assert metrics.bleu(hypothesis, reference, tokenize="none").value == pytest.approx(by_hand)


def test_options_reach_sacrebleu_and_its_signature():
    cased = metrics.bleu(HYPOTHESES, REFERENCES)
    lower = metrics.bleu(HYPOTHESES, REFERENCES, tokenize="none", lowercase=True)
    assert "case:mixed" in cased.signature
    assert "tok:13a" in cased.signature
    assert "case:lc" in lower.signature
    assert "tok:none" in lower.signature
    assert lower.value > cased.value
    assert "version:" in metrics.chrf(HYPOTHESES, REFERENCES).signature
    assert "tok:tercom" in metrics.ter(HYPOTHESES, REFERENCES).signature


def test_exact_match_ignores_outer_space_and_case_where_asked():
    assert metrics.exact_match(HYPOTHESES, REFERENCES).value == pytest.approx(100 / 3)
    assert metrics.exact_match(HYPOTHESES, REFERENCES, lowercase=True).value == pytest.approx(
        200 / 3
    )
    assert metrics.exact_match([" a"], ["a\n"]).value == 100.0


def test_ter_counts_edits_per_reference_word():
    assert metrics.ter(["a b c d"], ["a x c d"]).value == pytest.approx(25.0)


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        (["a", "b"], ["a"], "2 translations and 1 references"),
        ([], [], "at least one sentence"),
    ],
)
@pytest.mark.parametrize("score", [metrics.bleu, metrics.chrf, metrics.ter, metrics.exact_match])
def test_lists_that_do_not_fit_are_refused(score, hypotheses, references, message):
    with pytest.raises(UserError, match=message):
        score(hypotheses, references)


def test_unknown_tokenizer_is_refused_with_what_there_is():
    with pytest.raises(UserError, match=r"there is: .*13a"):
        metrics.bleu(["a"], ["a"], tokenize="14a")


def test_text_that_looks_tokenised_gives_no_warning(caplog):
    text = [f"Satz {i} ." for i in range(200)]
    metrics.bleu(text, text)
    assert not caplog.records
