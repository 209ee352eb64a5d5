"""What may be written: lengths, prefixes, n-grams, special tokens; in every search."""

import math

import pytest
import torch

from minitf.decoding.constraints import Constraints
from minitf.decoding.limits import Limits

PAD, BOS, EOS = 0, 1, 2
METHODS = [
    {"method": "greedy"},
    {"method": "beam", "beam_size": 3, "n_best": 3},
    {"method": "sample", "n_best": 2, "temperature": 2.0},
]


@pytest.fixture(params=METHODS, ids=lambda m: m["method"])
def method(request):
    return request.param


def _constraints(min_length=0, max_length=99, prefixes=None, ngram=0, batch=1):
    limits = Limits([min_length] * batch, [max_length] * batch)
    return Constraints(
        limits, prefixes or [[]] * batch, ngram,
        pad_id=PAD, bos_id=BOS, eos_id=EOS, device=torch.device("cpu"),
    )  # fmt: skip


def _allowed(constraints, *targets, vocab_size=7):
    """Tokens left for each of one sentence's targets (which begin with BOS)."""
    logits = torch.arange(vocab_size, dtype=torch.float64).expand(1, len(targets), -1).clone()
    left = constraints.apply(logits, torch.tensor([targets]))[0]
    for row in left:
        kept = row > -math.inf
        assert torch.equal(row[kept], torch.arange(vocab_size, dtype=torch.float64)[kept])
    return [set((row > -math.inf).nonzero().flatten().tolist()) for row in left]


def test_padding_and_bos_never():
    assert _allowed(_constraints(), [BOS], [BOS]) == [{2, 3, 4, 5, 6}] * 2


def test_lengths():
    c = _constraints(min_length=1, max_length=2)
    assert _allowed(c, [BOS]) == [{3, 4, 5, 6}]
    assert _allowed(c, [BOS, 3]) == [{2, 3, 4, 5, 6}]
    assert _allowed(c, [BOS, 3, 3]) == [{2}]


@pytest.mark.parametrize(
    ("n", "target", "forbidden"),
    [
        (1, [3, 5, 3], {3, 5}),
        (2, [3, 5, 4, 3], {5}),
        (2, [3, 3], {3}),
        (2, [3, 5, 3, 6, 3], {5, 6}),
        (2, [3], set()),
        (3, [3, 5, 4, 3, 5], {4}),
        (3, [3, 5, 4, 4, 5], set()),
        (3, [3, 3, 3], {3}),
        (5, [3, 4], set()),
    ],
)
def test_no_ngram_twice(n, target, forbidden):
    (allowed,) = _allowed(_constraints(ngram=n), [BOS, *target])
    assert allowed == {2, 3, 4, 5, 6} - forbidden


def test_ngrams_are_each_targets_own():
    allowed = _allowed(_constraints(ngram=2), [BOS, 3, 4, 3], [BOS, 5, 6, 3])
    assert allowed == [{2, 3, 5, 6}, {2, 3, 4, 5, 6}]


def test_eos_is_allowed_early_where_nothing_else_is_left():
    c = _constraints(min_length=9, ngram=1)
    assert _allowed(c, [BOS, 3, 4, 5], [BOS, 3, 4, 5], vocab_size=6) == [{2}, {2}]
    assert _allowed(c, [BOS, 3, 4, 4], [BOS, 3, 4, 5], vocab_size=6) == [{5}, {2}]


def test_prefix_goes_before_every_other_rule():
    c = _constraints(max_length=3, prefixes=[[4, 4, 4]], ngram=1)
    assert _allowed(c, [BOS], [BOS]) == [{4}] * 2
    assert _allowed(c, [BOS, 4]) == [{4}]
    assert _allowed(c, [BOS, 4, 4]) == [{4}]
    assert _allowed(c, [BOS, 4, 4, 4]) == [{2}]


def test_only_sentences_with_a_prefix_are_forced(make_model, decode, src, method):
    model = make_model()
    prefix = [[5, 5], [], [9], [16, 3, 16, 3], []]
    forced = decode(model, src, prefix=prefix, **method)
    free = decode(model, src, **method)
    for row, start in enumerate(prefix):
        assert all(h.tokens[: len(start)] == start for h in forced[row])
        if not start:
            assert [h.tokens for h in forced[row]] == [h.tokens for h in free[row]]


def test_scores_of_forced_targets_are_the_models_own(make_model, decode, src, log_prob_of, method):
    model = make_model()
    found = decode(model, src, prefix=[[5, 5], [], [9], [16, 3], []], min_length=3, **method)
    for source, hypotheses in zip(src, found, strict=True):
        for h in hypotheses:
            assert len(h.tokens) >= 3
            assert h.log_prob == pytest.approx(log_prob_of(model, source, h.tokens)[0], rel=1e-11)


def test_lengths_follow_the_source(make_model, decode, src, method):
    model = make_model(eos=-9.0)  # hardly ever ends by itself
    found = decode(model, src, max_length_ratio=2.0, max_length_extra=1, **method)
    for source, hypotheses in zip(src, found, strict=True):
        longest = 2 * int((source > EOS).sum()) + 1
        assert max(len(h.tokens) for h in hypotheses) <= longest
        assert any(len(h.tokens) == longest and not h.finished for h in hypotheses)
    eager = make_model(eos=9.0)
    found = decode(eager, src, min_length_ratio=1.0, min_length=2, **method)
    for source, hypotheses in zip(src, found, strict=True):
        shortest = max(2, int((source > EOS).sum()))
        assert min(len(h.tokens) for h in hypotheses) >= shortest


def test_no_repeated_ngram_and_no_special_token_in_any_result(make_model, decode, src, method):
    model = make_model(eos=-9.0)
    with torch.no_grad():
        model.output_projection.weight[[PAD, BOS]] *= 5.0
    repeated = 0
    for n in (0, 1, 2, 3):
        for hypotheses in decode(model, src, no_repeat_ngram=n, **method):
            for h in hypotheses:
                assert not {PAD, BOS, EOS} & set(h.tokens)
                size = n or 2
                ngrams = [tuple(h.tokens[i : i + size]) for i in range(len(h.tokens) - size + 1)]
                if n:
                    assert len(set(ngrams)) == len(ngrams)
                else:
                    repeated += len(ngrams) - len(set(ngrams))
    assert repeated > 0
