"""Greedy search."""

import pytest
import torch

PAD, BOS, EOS = 0, 1, 2


@torch.no_grad()
def _greedy_by_hand(model, source, longest):
    """One sentence, the whole model anew for each token."""
    model.eval()
    source = source[source != PAD][None]
    tokens, total = [BOS], 0.0
    while True:
        log_prob = model(source, torch.tensor([tokens]))[0, -1].log_softmax(-1)
        allowed = log_prob.clone()
        allowed[[PAD, BOS]] = -torch.inf
        likeliest = int(allowed.argmax())
        chosen = EOS if len(tokens) - 1 == longest else likeliest
        total += log_prob[chosen].item()
        if chosen == EOS:
            return tokens[1:], total, likeliest == EOS
        tokens.append(chosen)


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_greedy_is_the_likeliest_token_each_time(make_model, decode, src, cached, norm):
    model = make_model(cached=cached, norm=norm)
    found = decode(model, src, max_length_ratio=2.0, max_length_extra=4)
    lengths = set()
    for source, (hypothesis,) in zip(src, found, strict=True):
        longest = 2 * int((source > EOS).sum()) + 4
        tokens, log_prob, finished = _greedy_by_hand(model, source, longest)
        assert hypothesis.tokens == tokens
        assert hypothesis.log_prob == pytest.approx(log_prob, rel=1e-12)
        assert hypothesis.score == pytest.approx(log_prob / (len(tokens) + 1), rel=1e-12)
        assert hypothesis.finished == finished
        lengths.add((len(tokens), finished))
    assert len(lengths) > 2, "the sentences should not all end together"
    assert {finished for _, finished in lengths} == {True, False}


@pytest.mark.parametrize("options", [{}, {"positions": "learned"}, {"positions": "rotary"}])
def test_cached_equals_recomputed_in_float32(make_model, decode, src, options):
    """By the token; torch's attention has no cache and is not asked for rotary positions."""
    model = make_model(**options).float()
    found = decode(model, src)
    for layer in model.decoder.layers:
        layer.self_attn.supports_cache = False
    assert model.new_state() is None
    for ours, theirs in zip(found, decode(model, src), strict=True):
        assert ours[0].tokens == theirs[0].tokens
        assert ours[0].log_prob == pytest.approx(theirs[0].log_prob, rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
def test_when_sentences_leave_changes_nothing(make_model, decode, src, monkeypatch, share):
    model = make_model()
    expected = decode(model, src)
    monkeypatch.setattr("minitf.decoding.leaving.LEAVE_SHARE", share)
    found = decode(model, src)
    assert [h[0].tokens for h in found] == [h[0].tokens for h in expected]


def test_the_model_is_left_as_it_was(make_model, decode, src):
    model = make_model().train()
    decode(model, src)
    assert model.training
    assert decode(model, src) == decode(model, src)  # without dropout


def test_a_batch_of_none(make_model, decode):
    assert decode(make_model(), torch.zeros(0, 5, dtype=torch.long)) == []
