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


@pytest.mark.parametrize("options", METHODS, ids=lambda m: m["method"])
def test_a_broken_model_is_named(make_model, decode, src, options):
    model = make_model()
    with torch.no_grad():
        model.encoder.layers[0].linear1.weight[0, 0] = torch.nan
    with pytest.raises(UserError, match="logits are NaN"):
        decode(model, src, **options)
