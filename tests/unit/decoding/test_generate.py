"""The entry to every search: batches, precision, refusals."""

import pytest
import torch

from minitf.config import UserError

PAD, BOS, EOS = 0, 1, 2
METHODS = [
    {"method": "greedy"},
    {"method": "beam", "beam_size": 3, "n_best": 3, "early_stopping": "never"},
    {"method": "sample", "n_best": 2},
]


@pytest.mark.parametrize("options", METHODS, ids=lambda m: m["method"])
@pytest.mark.parametrize("cached", [True, False])
def test_a_sentence_alone_gets_what_it_gets_in_a_batch(make_model, decode, src, options, cached):
    model = make_model(cached=cached)
    together = decode(model, src, **options)
    for row in range(src.size(0)):
        length = int((src[row] != PAD).sum())
        (alone,) = decode(model, src[row : row + 1, :length], **options)
        assert [h.tokens for h in alone] == [h.tokens for h in together[row]]
        assert [h.finished for h in alone] == [h.finished for h in together[row]]
        assert [h.log_prob for h in alone] == pytest.approx(
            [h.log_prob for h in together[row]], rel=1e-11
        )


@pytest.mark.parametrize("options", METHODS, ids=lambda m: m["method"])
def test_an_attention_without_a_cache_writes_the_same(make_model, decode, src, options):
    cached, recomputed = make_model(cached=True), make_model(cached=False)
    assert torch.equal(cached.src_embedding.weight, recomputed.src_embedding.weight)
    for ours, theirs in zip(
        decode(cached, src, **options), decode(recomputed, src, **options), strict=True
    ):
        assert [h.tokens for h in ours] == [h.tokens for h in theirs]
        assert [h.log_prob for h in ours] == pytest.approx([h.log_prob for h in theirs], rel=1e-11)


@pytest.mark.parametrize("options", METHODS, ids=lambda m: m["method"])
def test_half_precision_models_decode(make_model, decode, src, options):
    found = decode(make_model().bfloat16(), src, **options)
    assert all(h.log_prob < 0 for hypotheses in found for h in hypotheses)


def test_learned_positions_bound_the_length(make_model, decode, src):
    model = make_model(positions="learned", max_length=9, eos=-9.0)
    found = decode(model, src, max_length_extra=50)
    assert max(len(h[0].tokens) for h in found) == 8
    with pytest.raises(UserError, match="too few for a forced prefix of 9 tokens"):
        decode(model, src, prefix=[[3] * 9] * 5)


def test_a_prefix_may_be_longer_than_the_maximum(make_model, decode, src):
    found = decode(make_model(), src, prefix=[[4] * 6] * 5, max_length_ratio=0, max_length_extra=2)
    assert [h[0].tokens for h in found] == [[4] * 6] * 5


def test_no_target_at_all(make_model, decode, src):
    found = decode(make_model(), src, max_length_ratio=0, max_length_extra=0)
    assert [h[0].tokens for h in found] == [[]] * 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "beam", "beam_size": 0}, "decoding.beam_size must be at least 1, got 0"),
        ({"n_best": 2}, "n_best must be at most 1 with decoding.method=greedy, got 2"),
        (
            {"method": "beam", "beam_size": 3, "n_best": 4},
            "n_best must be at most 3 with decoding.method=beam, got 4",
        ),
        ({"temperature": 0.0}, "decoding.temperature must be above 0, got 0.0"),
        ({"top_p": 0.0}, "decoding.top_p must be above 0 and at most 1, got 0.0"),
        ({"top_p": 1.1}, "decoding.top_p must be above 0 and at most 1, got 1.1"),
        ({"top_k": -1}, "decoding.top_k must be at least 0, got -1"),
        ({"max_length_ratio": float("nan")}, "decoding.max_length_ratio must be at least 0"),
        ({"min_length": -1}, "decoding.min_length must be at least 0, got -1"),
        ({"no_repeat_ngram": -2}, "decoding.no_repeat_ngram must be at least 0, got -2"),
    ],
)
def test_options_out_of_range_are_refused_in_one_line(make_model, decode, src, options, message):
    with pytest.raises(UserError, match=message) as error:
        decode(make_model(), src, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ([[3]], "a forced prefix is needed for each sentence, got 1 for 5"),
        ([[3], [], [EOS], [], []], "ordinary tokens only, got 2 for sentence 2"),
        ([[3], [17], [], [], []], "ordinary tokens only, got 17 for sentence 1"),
    ],
)
def test_prefixes_that_do_not_fit_are_refused(make_model, decode, src, prefix, message):
    with pytest.raises(UserError, match=message):
        decode(make_model(), src, prefix=prefix)


def test_a_source_of_padding_is_refused(make_model, decode, src):
    src = src.clone()
    src[3] = PAD
    with pytest.raises(UserError, match="sentence 3 is all padding"):
        decode(make_model(), src)


@pytest.mark.parametrize("options", METHODS, ids=lambda m: m["method"])
def test_a_broken_model_is_named(make_model, decode, src, options):
    model = make_model()
    with torch.no_grad():
        model.encoder.layers[0].linear1.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="logits are NaN"):
        decode(model, src, **options)
