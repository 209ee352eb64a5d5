"""translate_texts: each text gets its own translation, whatever order they were decoded in."""

import pytest
import torch

from minitf.attention import MultiHeadAttention
from minitf.config.schema import DecodingConfig, DecodingMethod
from minitf.decoding.batches import length_batches
from minitf.evaluation import load
from minitf.evaluation.alignment import alignments
from minitf.evaluation.translate import translate_texts


@pytest.fixture(scope="module")
def loaded(tiny_run):
    return load(tiny_run, device="cpu")


def test_order_is_kept_and_batches_change_nothing(loaded, sentences):
    texts = [source for source, _ in sentences] * 2
    alone = [translate_texts(loaded.model, loaded.tokenizer, [text])[0].text for text in texts]
    assert len(set(alone)) == len(sentences), "the test needs translations that differ"
    for batch_tokens in (1, 40, 10_000):
        together = translate_texts(
            loaded.model, loaded.tokenizer, texts, DecodingConfig(batch_tokens=batch_tokens)
        )
        assert [t.text for t in together] == alone
        assert [t.source for t in together] == texts


def test_empty_texts_stay_empty_in_their_place(loaded):
    seen = []
    texts = ["", "Cats sleep.", "", ""]
    found = translate_texts(loaded.model, loaded.tokenizer, texts, progress=seen.append)
    assert [t.text == "" for t in found] == [True, False, True, True]
    assert sum(seen) == len(texts)
    assert translate_texts(loaded.model, loaded.tokenizer, []) == []


def test_scores_are_the_models_own_log_probabilities(loaded, sentences):
    config = DecodingConfig(
        method=DecodingMethod.beam, beam_size=3, n_best=3, length_penalty=0.7, max_length_extra=2
    )
    model, tokenizer = loaded.model.double(), loaded.tokenizer
    try:
        for found in translate_texts(model, tokenizer, [s for s, _ in sentences], config):
            for hypothesis in found.hypotheses:
                src = torch.tensor([[*tokenizer.encode(found.source), tokenizer.eos_id]])
                out = torch.tensor([[*hypothesis.token_ids, tokenizer.eos_id]])
                tgt = torch.tensor([[tokenizer.bos_id, *hypothesis.token_ids]])
                logits = model(src, tgt).log_softmax(-1)
                log_prob = logits.gather(-1, out.unsqueeze(-1)).sum().item()
                assert hypothesis.log_prob == pytest.approx(log_prob, abs=1e-9)
                assert hypothesis.score == pytest.approx(log_prob / out.size(1) ** 0.7, abs=1e-9)
                assert hypothesis.text == tokenizer.decode(hypothesis.token_ids)
            scores = [hypothesis.score for hypothesis in found.hypotheses]
            assert len(scores) == 3
            assert scores == sorted(scores, reverse=True)
    finally:
        model.float()


def test_a_prefix_begins_every_translation(loaded, sentences):
    texts = [s for s, _ in sentences]
    prefixes = [t[:5] for _, t in sentences]
    found = translate_texts(loaded.model, loaded.tokenizer, texts, prefixes=prefixes)
    for translation, prefix in zip(found, prefixes, strict=True):
        assert translation.text.startswith(prefix)


def test_long_sources_are_cut(loaded):
    text = "Two children read a thick book."
    ids = loaded.tokenizer.encode(text)
    cut = translate_texts(loaded.model, loaded.tokenizer, [text], max_source_tokens=4)[0]
    assert cut.source_ids == ids[:4]
    alone = translate_texts(loaded.model, loaded.tokenizer, [loaded.tokenizer.decode(ids[:4])])[0]
    assert cut.text == alone.text


def test_training_mode_is_left_as_it_was(loaded):
    loaded.model.train()
    translate_texts(loaded.model, loaded.tokenizer, ["Cats sleep."])
    assert loaded.model.training
    loaded.model.eval()


def test_batches_are_within_the_budget_and_hold_each_sentence_once():
    lengths = [5, 1, 17, 3, 3, 11, 7, 17, 2]
    config = DecodingConfig(method=DecodingMethod.beam, beam_size=3, batch_tokens=102)
    batches = list(length_batches(lengths, config))
    assert sorted(i for batch in batches for i in batch) == [0, 2, 3, 4, 5, 6, 7, 8]
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) * 3 <= 102
    longest = [max(lengths[i] for i in batch) for batch in batches]
    assert longest == sorted(longest, reverse=True)


@pytest.fixture
def below_zero():
    """An attention whose weights are all negative, but for padding."""

    class BelowZero(MultiHeadAttention):
        supports_cache = False

        def forward(self, *args, **kwargs):
            out, weights = super().forward(*args, **kwargs)
            return out, None if weights is None else torch.where(weights > 0, weights - 1.5, 0.0)

    return BelowZero


def test_alignment_never_points_at_padding(tiny_run, below_zero, sentences):
    """Whatever the weights are, and whatever else is in the batch."""
    other = load(tiny_run, device="cpu", attention=below_zero)
    pairs = [(other.tokenizer.encode(s), other.tokenizer.encode(t)) for s, t in sentences]
    pairs.sort(key=lambda pair: len(pair[0]))
    assert len(pairs[0][0]) < len(pairs[-1][0])
    together = alignments(other.model, other.tokenizer, *map(list, zip(*pairs, strict=True)))
    for (source, target), aligned in zip(pairs, together, strict=True):
        assert max(aligned) < len(source)
        assert alignments(other.model, other.tokenizer, [source], [target]) == [aligned]


def test_alignment_is_where_the_mean_cross_attention_is_largest(loaded, sentences):
    model, tokenizer = loaded.model, loaded.tokenizer
    pairs = [(tokenizer.encode(s), tokenizer.encode(t)) for s, t in sentences]
    pairs += [([], []), (pairs[0][0], [])]
    found = alignments(model, tokenizer, [s for s, _ in pairs], [t for _, t in pairs])
    for (source, target), aligned in zip(pairs, found, strict=True):
        if not target:
            assert aligned == []
            continue
        src = torch.tensor([[*source, tokenizer.eos_id]])
        tgt = torch.tensor([[tokenizer.bos_id, *target[:-1]]])
        weights = model.attention_maps(src, tgt)["cross"][:, 0].mean((0, 1))  # (T, S)
        assert aligned == weights[:, : len(source)].argmax(-1).tolist()
