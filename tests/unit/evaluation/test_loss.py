"""The loss of a corpus is per target token, padding left out, however it is batched."""

import math

import pytest
import torch

from minitf.config.errors import UserError
from minitf.evaluation import load
from minitf.evaluation.loss import CorpusLoss, sentence_losses, sum_losses


@pytest.fixture(scope="module")
def loaded(tiny_run):
    translator = load(tiny_run, device="cpu")
    translator.model.double()
    return translator


def by_hand(loaded, source, target):
    tokenizer = loaded.tokenizer
    src = torch.tensor([[*tokenizer.encode(source), tokenizer.eos_id]])
    tgt = torch.tensor([[tokenizer.bos_id, *tokenizer.encode(target), tokenizer.eos_id]])
    with torch.no_grad():
        log_probs = loaded.model(src, tgt[:, :-1]).log_softmax(-1)
    return -log_probs.gather(-1, tgt[:, 1:, None]).sum().item(), tgt.size(1) - 1


@pytest.mark.parametrize("batch_tokens", [1, 70, 100_000])
def test_sentence_losses_are_the_models_and_in_order(loaded, sentences, batch_tokens):
    sources, targets = zip(*sentences, strict=True)
    found = sentence_losses(
        loaded.model, loaded.tokenizer, sources, targets, batch_tokens=batch_tokens
    )
    for (source, target), loss in zip(sentences, found, strict=True):
        total, tokens = by_hand(loaded, source, target)
        # The loss is computed in float32, as in training.
        assert loss.total == pytest.approx(total, rel=1e-6)
        assert loss.num_tokens == tokens


def test_the_corpus_weighs_tokens_not_sentences(loaded, sentences):
    sources, targets = zip(*sentences, strict=True)
    expected = [by_hand(loaded, s, t) for s, t in sentences]
    found = sum_losses(sentence_losses(loaded.model, loaded.tokenizer, sources, targets))
    assert found.num_tokens == sum(n for _, n in expected)
    assert found.loss == pytest.approx(sum(x for x, _ in expected) / found.num_tokens, rel=1e-6)
    assert found.perplexity == pytest.approx(math.exp(found.loss))


def test_sums_and_overflow():
    both = sum_losses([CorpusLoss(6.0, 2), CorpusLoss(1.0, 5)])
    assert (both.loss, both.num_tokens) == (1.0, 7)
    assert CorpusLoss(1e6, 1).perplexity == math.inf


def test_an_empty_target_counts_its_end(loaded):
    (loss,) = sentence_losses(loaded.model, loaded.tokenizer, ["Cats sleep."], [""])
    assert loss.num_tokens == 1


@pytest.mark.parametrize(("sources", "targets"), [(["a"], []), (["a"], ["b", "c"])])
def test_lists_that_do_not_fit_are_refused(loaded, sources, targets):
    with pytest.raises(UserError, match="a loss needs"):
        sentence_losses(loaded.model, loaded.tokenizer, sources, targets)
