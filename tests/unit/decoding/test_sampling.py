"""Sampling: its distribution, its truncation, and what its random numbers depend on."""

import math
from collections import Counter

import pytest
import torch

from minitf.config.schema import DecodingConfig
from minitf.decoding.sampling import choose

EOS = 2
SAMPLE = {"method": "sample"}


def _chosen(logits, config, count=20_001):
    """Tokens chosen by evenly spaced numbers: their shares are the probabilities, to 1 / count."""
    uniform = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    tokens = choose(logits.expand(1, count, -1), uniform[None], config)
    return {token: n / count for token, n in Counter(tokens[0].tolist()).items()}


LOGITS = torch.tensor([0.3, -math.inf, 1.7, -0.4, 1.1], dtype=torch.float64)


def _softmax(values):
    total = sum(math.exp(v) for v in values.values())
    return {token: math.exp(v) / total for token, v in values.items() if v > -math.inf}


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_shares_are_the_softmax(temperature):
    found = _chosen(LOGITS, DecodingConfig(temperature=temperature))
    expected = _softmax({i: v / temperature for i, v in enumerate(LOGITS.tolist())})
    assert found == pytest.approx(expected, abs=2e-4)


def test_top_k_keeps_the_k_likeliest():
    found = _chosen(LOGITS, DecodingConfig(top_k=2))
    assert found == pytest.approx(_softmax({2: 1.7, 4: 1.1}), abs=2e-4)
    assert _chosen(LOGITS, DecodingConfig(top_k=99)).keys() == {0, 2, 3, 4}


def test_top_p_keeps_the_fewest_that_reach_it():
    share = _softmax(dict(enumerate(LOGITS.tolist())))
    assert share[2] < 0.6 < share[2] + share[4]
    found = _chosen(LOGITS, DecodingConfig(top_p=0.6))
    assert found == pytest.approx(_softmax({2: 1.7, 4: 1.1}), abs=2e-4)
    assert _chosen(LOGITS, DecodingConfig(top_p=share[2] - 1e-6)) == {2: 1.0}
    assert _chosen(LOGITS, DecodingConfig(top_p=1e-9)) == {2: 1.0}


def test_the_largest_number_picks_something_allowed():
    logits = torch.tensor([[[0.0, 1.0, -math.inf]]], dtype=torch.float64)
    almost_one = torch.tensor([[1.0 - 2.0**-53]], dtype=torch.float64)
    assert choose(logits, almost_one, DecodingConfig()).item() == 1
    assert choose(logits, torch.zeros(1, 1, dtype=torch.float64), DecodingConfig()).item() == 0


def test_samples_follow_the_model(make_model, decode, log_prob_of, all_targets):
    """2,000 samples of a model with seven possible targets; χ² with 6 degrees of freedom."""
    model = make_model(vocab_size=5)
    src = torch.tensor([[3, 4, 4, EOS]])
    count = 2_000
    samples = decode(model, src, **SAMPLE, n_best=count, max_length_ratio=0.0, max_length_extra=2)
    found = Counter(tuple(h.tokens) for h in samples[0])
    targets = list(all_targets(5, 2))
    # PAD and BOS are forbidden, and EOS is forced behind two tokens: so normalise step by step.
    tail = {}
    with torch.no_grad():
        for tokens in targets:
            logits = model.eval()(src, torch.tensor([[1, *tokens]]))[0]
            log_prob = logits[:, 2:].log_softmax(-1)
            ended = [*tokens, EOS][:3] if len(tokens) < 2 else tokens
            tail[tuple(tokens)] = math.exp(sum(log_prob[i, t - 2] for i, t in enumerate(ended)))
    assert sum(tail.values()) == pytest.approx(1.0, abs=1e-12)
    chi2 = sum((found[t] - count * p) ** 2 / (count * p) for t, p in tail.items())
    assert chi2 < 22.5  # p = 0.001
    for h in samples[0][:20]:
        assert h.log_prob == pytest.approx(log_prob_of(model, src[0], h.tokens)[0], rel=1e-11)


def test_a_sample_depends_on_its_source_and_seed_alone(make_model, decode, src):
    model = make_model()
    options = {**SAMPLE, "n_best": 3, "temperature": 1.3}
    together = decode(model, src, **options)
    for row in range(src.size(0)):
        length = int((src[row] != 0).sum())
        (alone,) = decode(model, src[row : row + 1, :length], **options)
        assert [h.tokens for h in alone] == [h.tokens for h in together[row]]
    backwards = decode(model, src.flip(0), **options)[::-1]
    assert [[h.tokens for h in hs] for hs in backwards] == [
        [h.tokens for h in hs] for hs in together
    ]
    other = decode(model, src, **options, seed=1)
    assert [h.tokens for h in other[0]] != [h.tokens for h in together[0]]


def test_samples_of_one_sentence_differ(make_model, decode, src):
    found = decode(make_model(), src, **SAMPLE, n_best=5, temperature=2.0)
    assert all(len({tuple(h.tokens) for h in hs}) > 1 for hs in found)


def test_top_k_of_one_is_greedy(make_model, decode, src):
    model = make_model()
    greedy, sampled = decode(model, src), decode(model, src, **SAMPLE, top_k=1, temperature=5.0)
    assert [h[0].tokens for h in sampled] == [h[0].tokens for h in greedy]
    assert [h[0].log_prob for h in sampled] == pytest.approx([h[0].log_prob for h in greedy])


@pytest.mark.gpu
def test_deterministic_algorithms_on_a_gpu():
    """torch's sums along a row have no deterministic form there."""
    logits = torch.randn(7, 3, 101, dtype=torch.float64)
    uniform = torch.rand(7, 3, dtype=torch.float64)
    config = DecodingConfig(top_p=0.9)
    expected = choose(logits, uniform, config)
    torch.use_deterministic_algorithms(True)
    try:
        found = choose(logits.cuda(), uniform.cuda(), config)
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(found.cpu(), expected)
