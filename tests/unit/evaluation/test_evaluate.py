"""What an evaluation says is what its parts say, on the whole and by length."""

import math

import pytest

import minitf
from minitf.config.errors import UserError
from minitf.evaluation.evaluate import evaluate, length_groups
from minitf.evaluation.loss import sentence_losses, sum_losses
from minitf.evaluation.metrics import corpus_scores


@pytest.fixture(scope="module")
def translator(tiny_run):
    return minitf.load(tiny_run, device="cpu")


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([5], [[0]]),
        ([2, 2, 2, 2], [[0, 1, 2, 3]]),
        ([4, 3, 2, 1], [[3], [2], [1], [0]]),
        ([1, 2, 3, 4, 5, 6, 7, 8], [[0, 1], [2, 3], [4, 5], [6, 7]]),
        ([7, 7, 7, 7, 7, 9], [[0, 1, 2, 3, 4], [5]]),
    ],
)
def test_groups_are_of_about_equal_size_and_never_split_a_length(lengths, expected):
    assert length_groups(lengths) == expected


def test_the_whole_is_loss_and_scores_of_all(translator, sentences):
    sources, references = map(list, zip(*sentences, strict=True))
    found = evaluate(translator, sources, references, name="six", lowercase=True, beam_size=2)
    assert found.translations == translator.translate(sources, beam_size=2)
    expected = corpus_scores(found.translations, references, lowercase=True, with_ter=True)
    assert found.scores == expected
    loss = sum_losses(sentence_losses(translator.model, translator.tokenizer, sources, references))
    assert found.loss.loss == pytest.approx(loss.loss)
    figures = found.to_json()
    assert figures["sentences"] == 6
    assert figures["perplexity"] == pytest.approx(math.exp(loss.loss))
    assert figures["bleu"] == expected["bleu"].value


def test_groups_hold_each_sentence_once_with_its_own_loss(translator, sentences):
    sources, references = map(list, zip(*sentences, strict=True))
    groups = evaluate(translator, sources, references, name="six").by_length
    assert sum(group.sentences for group in groups) == 6
    for group in groups:
        pairs = [
            (s, t)
            for s, t in sentences
            if group.shortest <= len(translator.tokenizer.encode(s)) <= group.longest
        ]
        assert len(pairs) == group.sentences
        own = sum_losses(
            sentence_losses(translator.model, translator.tokenizer, *zip(*pairs, strict=True))
        )
        assert group.loss == pytest.approx(own.loss, rel=1e-6)


def test_sentences_beyond_the_models_positions_are_named(make_run):
    translator = minitf.load(make_run("model.positions=learned", "model.max_length=16"))
    lengths = {len(translator.tokenizer.encode("b" * n)): "b" * n for n in range(20)}
    fits, longer = lengths[15], lengths[16]
    evaluate(translator, [fits], [fits], name="test")
    with pytest.raises(UserError, match="line 1 of test has 16 tokens, more than the 15"):
        evaluate(translator, [longer], ["a"], name="test")
    long = "a b c d e f g h i j k l m n o p"
    with pytest.raises(UserError, match=r"line 2 of test has \d+ tokens, more than the 15"):
        evaluate(translator, ["a", long], ["a", "b"], name="test")
    with pytest.raises(UserError, match="line 1 of test, references has"):
        evaluate(translator, ["a", "b"], [long, "b"], name="test")


@pytest.mark.parametrize(("sources", "references"), [([], []), (["a"], [])])
def test_lists_that_do_not_fit_are_refused(translator, sources, references):
    with pytest.raises(UserError, match="as many references as sources are needed"):
        evaluate(translator, sources, references, name="x")
