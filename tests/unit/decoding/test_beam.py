"""Beam search against exhaustive search, greedy search, and the model's own probabilities."""

import pytest
import torch

PAD, BOS, EOS = 0, 1, 2
BEAM = {"method": "beam"}
RULES = ["first", "heuristic", "never"]


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 2.5, -0.5])
@pytest.mark.parametrize("rule", ["heuristic", "never"])
def test_a_large_beam_is_exhaustive_search(
    make_model, decode, src, log_prob_of, all_targets, length_penalty, rule
):
    """Three ordinary tokens, targets of at most four: 121 of them, and a beam that holds all."""
    model = make_model(vocab_size=6)
    src = torch.where(src > EOS, 3 + src % 3, src)[:3]
    found = decode(
        model, src, **BEAM, beam_size=121, n_best=121, max_length_ratio=0.0, max_length_extra=4,
        length_penalty=length_penalty, early_stopping="never",
    )  # fmt: skip
    best = decode(
        model, src, **BEAM, beam_size=121, n_best=7, max_length_ratio=0.0, max_length_extra=4,
        length_penalty=length_penalty, early_stopping=rule,
    )  # fmt: skip
    for source, hypotheses, few in zip(src, found, best, strict=True):
        targets = list(all_targets(6, 4))
        scores = {
            tuple(tokens): log_prob / (len(tokens) + 1) ** length_penalty
            for tokens, log_prob in zip(targets, log_prob_of(model, source, *targets), strict=True)
        }
        ranking = sorted(scores, key=scores.get, reverse=True)
        assert [tuple(h.tokens) for h in hypotheses] == ranking
        assert [h.score for h in hypotheses] == pytest.approx(
            [scores[t] for t in ranking], rel=1e-11
        )
        assert [tuple(h.tokens) for h in few] == ranking[:7]


@pytest.mark.parametrize("rule", ["first", "heuristic"])
@pytest.mark.parametrize("cached", [True, False])
def test_one_beam_is_greedy(make_model, decode, src, rule, cached):
    for seed in range(5):
        model = make_model(cached=cached, seed=seed)
        beam = decode(model, src, **BEAM, beam_size=1, early_stopping=rule)
        greedy = decode(model, src)
        for ours, theirs in zip(beam, greedy, strict=True):
            assert ours[0].tokens == theirs[0].tokens
            assert ours[0].log_prob == pytest.approx(theirs[0].log_prob, rel=1e-12)
            assert ours[0].finished == theirs[0].finished


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("cached", [True, False])
def test_log_probabilities_are_the_models_own(make_model, decode, src, log_prob_of, rule, cached):
    """Each step a beam's cache must hold its own past: a stale one would show here."""
    model = make_model(cached=cached)
    found = decode(model, src, **BEAM, beam_size=5, n_best=5, early_stopping=rule,
                   no_repeat_ngram=2, length_penalty=0.7)  # fmt: skip
    for source, hypotheses in zip(src, found, strict=True):
        assert len({tuple(h.tokens) for h in hypotheses}) == len(hypotheses) == 5
        assert [h.score for h in hypotheses] == sorted((h.score for h in hypotheses), reverse=True)
        for h in hypotheses:
            assert h.log_prob == pytest.approx(log_prob_of(model, source, h.tokens)[0], rel=1e-11)
            assert h.score == pytest.approx(h.log_prob / (len(h.tokens) + 1) ** 0.7, rel=1e-12)


@torch.no_grad()
def _beam_by_hand(model, source, beam_size, longest):
    """The textbook's search over lists, with the rule `first` and length_penalty 1."""
    model.eval()
    source = source[source != PAD][None]
    live, finished = [(0.0, [BOS])], []
    while live and len(finished) < beam_size:
        candidates = []
        for total, tokens in live:
            log_prob = model(source, torch.tensor([tokens]))[0, -1].log_softmax(-1).tolist()
            allowed = [EOS] if len(tokens) - 1 == longest else range(EOS, len(log_prob))
            candidates += [(total + log_prob[v], [*tokens, v]) for v in allowed]
        candidates.sort(reverse=True)
        for total, tokens in candidates[:beam_size]:
            if tokens[-1] == EOS:
                finished.append((total / (len(tokens) - 1), tokens[1:-1]))
        live = [c for c in candidates if c[1][-1] != EOS][:beam_size]
    return sorted(finished, reverse=True)[:beam_size]


def test_the_textbooks_search_finds_the_same(make_model, decode, src):
    for seed in range(4):
        model = make_model(seed=seed)
        found = decode(model, src, **BEAM, beam_size=3, n_best=3, max_length_extra=2)
        for source, hypotheses in zip(src, found, strict=True):
            longest = int(1.5 * int((source > EOS).sum())) + 2
            expected = _beam_by_hand(model, source, 3, longest)
            assert [h.tokens for h in hypotheses] == [tokens for _, tokens in expected]
            assert [h.score for h in hypotheses] == pytest.approx(
                [score for score, _ in expected], rel=1e-11
            )


@pytest.mark.parametrize(("narrow", "wide"), [("first", "heuristic"), ("heuristic", "never")])
def test_a_wider_rule_never_finds_a_worse_best_and_sometimes_a_better(
    make_model, decode, src, narrow, wide
):
    options = {**BEAM, "beam_size": 2, "length_penalty": 2.5, "max_length_extra": 8}
    improved = 0
    for seed in range(4):
        model = make_model(seed=seed)
        before = decode(model, src, **options, early_stopping=narrow)
        after = decode(model, src, **options, early_stopping=wide)
        for (worse,), (better,) in zip(before, after, strict=True):
            assert better.score >= worse.score - 1e-12
            improved += better.score > worse.score + 1e-9
    assert improved > 0


@pytest.mark.parametrize("share", [0.0, 2.0])
def test_when_sentences_leave_changes_nothing(make_model, decode, src, monkeypatch, share):
    """With 2.0 none leaves before the last step, long after its search was done."""
    model = make_model()
    for rule in RULES:
        options = {**BEAM, "beam_size": 3, "n_best": 3, "early_stopping": rule}
        monkeypatch.undo()
        expected = decode(model, src, **options)
        monkeypatch.setattr("minitf.decoding.leaving.LEAVE_SHARE", share)
        found = decode(model, src, **options)
        assert [[h.tokens for h in hs] for hs in found] == [
            [h.tokens for h in hs] for hs in expected
        ]


def test_looking_seldom_changes_nothing(make_model, decode, src, monkeypatch):
    """An accelerator is asked every few steps only which sentences are finished."""
    model = make_model()
    options = {**BEAM, "beam_size": 3, "n_best": 2}
    expected = decode(model, src, **options)

    def seldom(done, step, last):
        if last:
            return [True] * done.size(0)
        return done.tolist() if step % 5 == 4 else None

    monkeypatch.setattr("minitf.decoding.beam.finished_sentences", seldom)
    monkeypatch.setattr("minitf.decoding.single.finished_sentences", seldom)
    found = decode(model, src, **options)
    assert [[h.tokens for h in hs] for hs in found] == [[h.tokens for h in hs] for hs in expected]
    assert [h[0].tokens for h in decode(model, src)] == [h[0].tokens for h in decode(model, src)]


def test_a_source_is_kept_once_however_many_beams(make_model, decode, src):
    """And the first step, where each sentence has BOS alone, computes one row for each."""
    model = make_model()
    shapes = []
    for layer in model.decoder.layers:
        layer.multihead_attn.register_forward_pre_hook(
            lambda _, args: shapes.append((*args[0].shape[:2], args[1].size(0)))
        )
    decode(model, src, **BEAM, beam_size=4)
    layers = len(model.decoder.layers)
    assert shapes[:layers] == [(5, 1, 5)] * layers
    assert len(set(shapes)) > 2, "sentences should leave at different times"
    for sentences, beams, sources in shapes[layers:]:
        assert sentences == sources <= 5
        assert beams == 4
