"""CTranslate2 writes the same text with the same scores, for every architecture."""

import pytest
import torch

from minitf.config.errors import UserError
from minitf.export import export

ctranslate2 = pytest.importorskip("ctranslate2", reason="pip install 'minitf[export]'")

TEXTS = ["A small dog sleeps.", "Why does </s> nobody laugh at Gänse?", "é\u00a0\U0001f600 <pad>"]

LONGEST = 24


@pytest.fixture(scope="module")
def exported(load_with, tmp_path_factory):
    """The model and its export, for an architecture."""
    made = {}

    def load(name):
        if name not in made:
            directory = tmp_path_factory.mktemp("export") / "out"
            assert export(load_with(name), "ctranslate2", directory).passed
            made[name] = load_with(name), directory
        return made[name]

    return load


def translate(directory, **options):
    """What the engine writes: token ids and their score, by text."""
    import tokenizers

    engine = ctranslate2.Translator(str(directory), device="cpu")
    tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    found = engine.translate_batch(
        [tokenizer.encode(text, add_special_tokens=False).tokens for text in TEXTS],
        max_decoding_length=LONGEST, min_decoding_length=0, return_scores=True, **options,
    )  # fmt: skip
    return [([tokenizer.token_to_id(t) for t in f.hypotheses[0]], f.scores[0]) for f in found]


LENGTH = {"max_length_ratio": 0.0, "max_length_extra": LONGEST}


@pytest.mark.parametrize(
    "name",
    ["pre_sinusoidal", "pre_two_way", "pre_untied", "pre_learned", "post_sinusoidal",
     "post_two_way", "post_untied", "no_bias", "rotary", "swiglu", "post_learned"],
)  # fmt: skip
def test_greedy_output_is_equal(exported, name):
    translator, directory = exported(name)
    expected = translator.translations(TEXTS, **LENGTH)
    found = translate(directory, beam_size=1)
    assert [ids for ids, _ in found] == [t.hypotheses[0].token_ids for t in expected]
    assert len({tuple(ids) for ids, _ in found}) > 1


def test_few_positions_are_enough_for_the_check(exported):
    """`export` itself runs the engine, which has no answer beyond the last position."""
    translator, directory = exported("few_positions")
    assert translator.model.max_positions == 11
    assert (directory / "model.bin").is_file()


def test_scores_are_the_models_log_probabilities(exported):
    translator, directory = exported("pre_sinusoidal")
    tokenizer = translator.tokenizer
    for text, (ids, score) in zip(TEXTS, translate(directory, beam_size=4), strict=True):
        written = ids if len(ids) == LONGEST else [*ids, tokenizer.eos_id]
        src = torch.tensor([[*tokenizer.encode(text), tokenizer.eos_id]])
        tgt = torch.tensor([[tokenizer.bos_id, *written]])
        with torch.inference_mode():
            log_probs = translator.model(src, tgt[:, :-1]).log_softmax(-1)
        expected = log_probs.gather(-1, tgt[:, 1:, None]).mean().item()
        # Padding and BOS, which it must not write, lack in its normalisation.
        assert score == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("option", ["bias_kv", "zero_attn"])
def test_what_it_lacks_is_refused_by_name(load_with, tmp_path, option):
    with pytest.raises(UserError, match=f"attention.add_{option}"):
        export(load_with(option), "ctranslate2", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_example_of_the_model_card_runs(exported, run_example):
    run_example(*exported("pre_sinusoidal"))
