"""transformers loads the export by itself, and computes and writes the same."""

import pytest
import torch

import minitf
from minitf.config.errors import UserError
from minitf.config.schema import DecodingConfig
from minitf.evaluation.loss import sentence_losses
from minitf.export import export

pytest.importorskip("transformers", reason="pip install 'minitf[export]'")

TEXTS = ["A small dog sleeps.", "Why does </s> nobody laugh at Gänse?", "é\u00a0\U0001f600 <pad>"]


@pytest.fixture(scope="module")
def exported(load_with, tmp_path_factory):
    """The model, transformers' model and its tokenizer, for an architecture."""
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    made = {}

    def load(name):
        if name not in made:
            directory = tmp_path_factory.mktemp("export") / "out"
            assert export(load_with(name), "transformers", directory).passed
            model = AutoModelForSeq2SeqLM.from_pretrained(directory).eval()
            made[name] = load_with(name), model, AutoTokenizer.from_pretrained(directory), directory
        return made[name]

    return load


@pytest.mark.parametrize(
    "name",
    ["pre_sinusoidal", "pre_two_way", "pre_untied", "pre_learned",
     "post_sinusoidal", "post_two_way", "post_untied", "no_bias"],
)  # fmt: skip
def test_logits_are_equal(exported, tokens, name):
    translator, model, _, _ = exported(name)
    src, tgt = tokens(translator)
    mask = (src != translator.tokenizer.pad_id).long()
    with torch.inference_mode():
        found = model(input_ids=src, attention_mask=mask, decoder_input_ids=tgt).logits
        expected = translator.model(src, tgt)
    assert (found - expected).abs().max().item() < 1e-5 * max(1, expected.abs().max().item())


@pytest.mark.parametrize("name", ["pre_sinusoidal", "post_untied", "pre_learned"])
def test_text_in_text_out(exported, name):
    translator, model, tokenizer, _ = exported(name)
    inputs = tokenizer(TEXTS, return_tensors="pt", padding=True)
    found = model.generate(**inputs, max_new_tokens=25)
    texts = tokenizer.batch_decode(found, skip_special_tokens=True)
    length = {"max_length_ratio": 0.0, "max_length_extra": 24}
    assert texts == translator.translate(TEXTS, **length)
    assert len(set(texts)) == len(TEXTS)


def test_it_searches_as_the_run_does(run_of, tmp_path):
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    translator = minitf.load(run_of("small"), device="cpu")
    translator.config.evaluation.decoding = DecodingConfig(no_repeat_ngram=1, min_length=13)
    assert export(translator, "transformers", tmp_path / "out").passed
    model = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    found = model.generate(**tokenizer(TEXTS, return_tensors="pt", padding=True), max_new_tokens=25)
    texts = tokenizer.batch_decode(found, skip_special_tokens=True)
    length = {"max_length_ratio": 0.0, "max_length_extra": 24}
    assert texts == translator.translate(TEXTS, **length)
    assert texts != minitf.load(run_of("small"), device="cpu").translate(TEXTS, **length)


@pytest.mark.parametrize(
    ("decoding", "expected"),
    [
        (
            {"method": "beam", "beam_size": 3, "length_penalty": 0.7, "early_stopping": "never"},
            {"num_beams": 3, "length_penalty": 0.7, "early_stopping": "never"},
        ),
        (
            {"method": "sample", "temperature": 0.7, "top_k": 5, "top_p": 0.9},
            {"do_sample": True, "temperature": 0.7, "top_k": 5, "top_p": 0.9, "num_beams": 1},
        ),
    ],
)
def test_the_runs_way_to_decode_has_their_names(run_of, tmp_path, decoding, expected):
    from transformers import GenerationConfig

    translator = minitf.load(run_of("small"), device="cpu")
    translator.config.evaluation.decoding = DecodingConfig(**decoding)
    assert export(translator, "transformers", tmp_path / "out").passed
    found = GenerationConfig.from_pretrained(tmp_path / "out")
    assert {name: getattr(found, name) for name in expected} == expected


def test_the_tokenizer_is_the_same_with_eos(exported):
    translator, _, tokenizer, _ = exported("pre_sinusoidal")
    for text in [*TEXTS, "", " two  spaces "]:
        ids = translator.tokenizer.encode(text)
        assert tokenizer(text).input_ids == [*ids, translator.tokenizer.eos_id]
        assert tokenizer(text_target=text).input_ids == [*ids, translator.tokenizer.eos_id]
        assert tokenizer.decode(ids) == text


@pytest.mark.parametrize("name", ["words", "characters"])
def test_other_tokenizers_come_along(exported, name):
    translator, _, tokenizer, _ = exported(name)
    for text in ["A small dog sleeps.", "Why  does xyzzy laugh </s>?"]:
        ids = translator.tokenizer.encode(text)
        assert tokenizer(text).input_ids == [*ids, translator.tokenizer.eos_id]
        assert tokenizer.decode(ids) == translator.tokenizer.decode(ids)


def test_training_there_shifts_labels_as_here(exported):
    translator, model, tokenizer, _ = exported("pre_sinusoidal")
    batch = tokenizer(TEXTS[:1], text_target=["Ein Hund."], return_tensors="pt")
    (own,) = sentence_losses(translator.model, translator.tokenizer, TEXTS[:1], ["Ein Hund."])
    assert model(**batch).loss.item() == pytest.approx(own.loss, abs=1e-5)


@pytest.mark.parametrize("name", ["pre_learned", "pre_two_way", "post_untied"])
def test_it_survives_being_saved_again(exported, tokens, tmp_path, name):
    from transformers import AutoModelForSeq2SeqLM

    translator, model, _, _ = exported(name)
    model.save_pretrained(tmp_path / "again")
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "again").eval()
    src, tgt = tokens(translator)
    options = {"input_ids": src, "attention_mask": src != 0, "decoder_input_ids": tgt}
    with torch.inference_mode():
        assert torch.equal(again(**options).logits, model(**options).logits)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("rotary", "model.positions=rotary"),
        ("swiglu", "model.activation=swiglu"),
        ("post_learned", "model.positions=learned with model.norm=post"),
        ("bias_kv", r"attention\.add_bias_kv"),
        ("zero_attn", r"attention\.add_zero_attn"),
    ],
)
def test_what_it_lacks_is_refused_by_name(load_with, tmp_path, name, option):
    with pytest.raises(UserError, match=option):
        export(load_with(name), "transformers", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_the_example_of_the_model_card_runs(exported, run_example):
    translator, _, _, directory = exported("pre_sinusoidal")
    run_example(translator, directory)
