"""minitf.load: a run directory becomes a Translator, or one line says why not."""

import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

import minitf
from minitf.attention import MultiHeadAttention
from minitf.config.errors import UserError
from minitf.evaluation.translate import translate_texts
from minitf.tokenizer import train_tokenizer


@pytest.fixture
def run_copy(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "run")


TEXTS = ["A small dog sleeps.", "", "Why does nobody laugh?"]


def test_a_run_is_loaded_as_it_was_trained(tiny_run):
    translator = minitf.load(tiny_run, device="cpu")
    saved = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    state = translator.model.state_dict()
    assert {f"model.{name}" for name in state} == set(saved)
    assert all(torch.equal(state[name], saved[f"model.{name}"]) for name in state)
    assert not translator.model.training
    assert translator.config.model.embed_dim == 24
    assert translator.origin.endswith("best.ckpt")


def test_a_translator_is_shown_in_one_line(tiny_run):
    found = repr(minitf.load(tiny_run, device="cpu"))
    assert found.startswith(f"Translator({tiny_run}/checkpoints/best.ckpt: ")
    assert found.endswith(" parameters, vocabulary 300, on cpu)")


def test_rooms_are_attributes_of_the_package():
    code = "import minitf; print(minitf.attention.MultiHeadAttention, minitf.rooms)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.endswith("AttributeError: module 'minitf' has no attribute 'rooms'\n")


def test_text_in_text_out(tiny_run):
    translator = minitf.load(str(tiny_run), device="cpu")
    found = translator.translate(TEXTS)
    assert found[1] == ""
    assert found[0] != found[2]
    assert found == [t.text for t in translator.translations(TEXTS)]


def test_texts_and_prefixes_come_in_any_list(tiny_run):
    translator = minitf.load(str(tiny_run), device="cpu")
    assert translator.translate(text for text in TEXTS) == translator.translate(TEXTS)
    found = translator.translations(TEXTS[:1], prefixes=iter(["So"]))
    assert found[0].text.startswith("So")
    for prefixes, message in (
        (["So"], "prefixes must hold one for each text, 3; received 1"),
        ("abc", "prefixes takes a list of texts"),
        ([None] * 3, "prefixes takes texts, received None"),
    ):
        with pytest.raises(UserError, match=message):
            translator.translations(TEXTS, prefixes=prefixes)


def test_checkpoints_are_chosen(tiny_run):
    def weight(checkpoint):
        model = minitf.load(tiny_run, device="cpu", checkpoint=checkpoint).model
        return model.encoder.layers[0].linear1.weight

    assert not torch.equal(weight("best"), weight("last"))
    mean = (weight("epoch-0000.ckpt").double() + weight("epoch-0001.ckpt").double()) / 2
    assert torch.equal(weight("average:last:2"), mean.float())
    assert torch.equal(weight(tiny_run / "checkpoints" / "last.ckpt"), weight("last"))


@pytest.mark.parametrize(
    ("attention", "expected"),
    [
        (None, MultiHeadAttention),
        ("torch", nn.MultiheadAttention),
        ("custom", MultiHeadAttention),
        ("torch.nn.MultiheadAttention", nn.MultiheadAttention),
        (nn.MultiheadAttention, nn.MultiheadAttention),
        ({"_target_": "custom", "kernel": "math"}, MultiHeadAttention),
    ],
)
@pytest.mark.parametrize("options", [{}, {"beam_size": 4}])
def test_another_attention_writes_the_same_text(tiny_run, sentences, attention, expected, options):
    texts = [source for source, _ in sentences]
    translator = minitf.load(tiny_run, device="cpu", attention=attention)
    assert type(translator.model.decoder.layers[0].self_attn) is expected
    as_trained = minitf.load(tiny_run, device="cpu")
    assert translator.translate(texts, **options) == as_trained.translate(texts, **options)


def test_the_stored_kernel_does_not_hinder_another_attention(make_run):
    run_dir = make_run("attention.kernel=math")
    assert minitf.load(run_dir, device="cpu").model.encoder.layers[0].self_attn.kernel == "math"
    with_torch = minitf.load(run_dir, device="cpu", attention="torch")
    assert with_torch.config.attention == {"_target_": "torch.nn.MultiheadAttention"}


def test_an_option_of_one_method_chooses_it(tiny_run):
    translator = minitf.load(tiny_run, device="cpu")
    assert len(translator.translations(TEXTS[:1], n_best=3)[0].hypotheses) == 3
    sampled = {translator.translate(TEXTS[:1], temperature=5.0, seed=n)[0] for n in range(3)}
    assert len(sampled) == 3
    assert translator.translate(TEXTS, beam_size=1) == translator.translate(TEXTS)


def test_text_is_lower_cased_where_the_training_text_was(make_run):
    run_dir = make_run("data=text_files", "data.root=.", "data.lowercase=true")
    translator = minitf.load(run_dir, device="cpu")
    lower = [text.lower() for text in TEXTS]
    assert translator.translate(TEXTS) == translator.translate(lower)
    assert [t.source for t in translator.translations(TEXTS)] == TEXTS
    cased = translate_texts(translator.model, translator.tokenizer, TEXTS)
    assert [t.text for t in cased] != translator.translate(TEXTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beamsize": 3}, "did you mean beam_size"),
        ({"beam_size": 0}, "beam_size must be at least 1"),
        ({"beam_size": 2.5}, "beam_size takes int; received 2.5"),
        ({"method": "viterbi"}, "one of greedy, beam, sample; received 'viterbi'"),
        ({"n_best": True}, "n_best takes int; received True"),
    ],
)
def test_decoding_options_are_checked(tiny_run, options, message):
    with pytest.raises(UserError, match=message):
        minitf.load(tiny_run, device="cpu").translate(TEXTS, **options)


@pytest.mark.gpu
def test_a_gpu_is_found_and_writes_the_same(tiny_run, sentences):
    texts = [source for source, _ in sentences]
    on_gpu = minitf.load(tiny_run)
    assert on_gpu.device.type == "cuda"
    on_cpu = minitf.load(tiny_run, device="cpu")
    for translator in (on_gpu, on_cpu):
        translator.model.double()  # no near tie of random weights is decided by rounding
    assert on_gpu.translate(texts, beam_size=3) == on_cpu.translate(texts, beam_size=3)


def test_a_single_string_is_no_list(tiny_run):
    with pytest.raises(UserError, match=r"write \[text\]"):
        minitf.load(tiny_run, device="cpu").translate("A dog")


def test_what_is_no_text_is_named(tiny_run):
    with pytest.raises(UserError, match="takes texts, received 3"):
        minitf.load(tiny_run, device="cpu").translate(["A dog", 3])


@pytest.mark.parametrize("nothing", [None, 5])
def test_what_is_no_list_is_named(tiny_run, nothing):
    with pytest.raises(UserError, match=f"takes a list of texts; received {nothing}"):
        minitf.load(tiny_run, device="cpu").translate(nothing)


@pytest.mark.parametrize("most", [0, -1])
def test_sources_are_not_cut_to_nothing(tiny_run, most):
    with pytest.raises(UserError, match=f"max_source_tokens must be at least 1; received {most}"):
        minitf.load(tiny_run, device="cpu").translations(["A dog"], max_source_tokens=most)


def refused(run_dir, message, **options):
    with pytest.raises(UserError, match=message) as caught:
        minitf.load(run_dir, device="cpu", **options)
    assert "\n" not in str(caught.value)


def test_no_such_run(tmp_path):
    refused(tmp_path / "none", "none does not exist: give the directory of a run")
    refused(tmp_path, "holds neither config.yaml nor config.json")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", "is a file")


def test_no_such_device(tiny_run):
    for device in ("meta", "hpu", "vulkan"):
        with pytest.raises(UserError, match=f"device={device} cannot be used: .{{1,200}}$"):
            minitf.load(tiny_run, device=device)
    with pytest.raises(UserError, match="device=tpu cannot be used"):
        minitf.load(tiny_run, device="tpu")


@pytest.mark.parametrize("name", ["config.yaml", "tokenizer.json", "checkpoints/best.ckpt"])
def test_a_torn_file_is_named(run_copy, name):
    path = run_copy / name
    path.write_bytes(path.read_bytes()[:-200])
    refused(run_copy, path.name.replace(".", r"\."))
    path.unlink()
    if name == "checkpoints/best.ckpt":
        path.touch()
    refused(run_copy, "holds neither" if name == "config.yaml" else path.name)


def test_a_tokenizer_of_another_size_does_not_fit(run_copy, sentences):
    other = train_tokenizer([sentences[0][0]], minitf.load(run_copy).config.tokenizer)
    other.save(run_copy / "tokenizer.json")
    refused(run_copy, "not the tokenizer that the model was trained with")
    path = run_copy / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["minitf"]
    torch.save(checkpoint, path)
    refused(run_copy, r"has \d+ tokens, but the model in .* was trained with \d+")


def test_a_tokenizer_of_the_same_size_does_not_fit(run_copy):
    size = minitf.load(run_copy).tokenizer.vocab_size
    config = minitf.load(run_copy).config.tokenizer
    text = "abab cdcd efef ghgh ijij klkl mnmn opop qrqr stst uvuv wxwx yzyz acac bdbd egeg"
    other = train_tokenizer([text] * 9, config)
    assert other.vocab_size == size
    other.save(run_copy / "tokenizer.json")
    refused(run_copy, "not the tokenizer that the model was trained with")


def test_a_config_that_does_not_belong_to_the_weights(run_copy):
    config = run_copy / "config.yaml"
    text = config.read_text()
    config.write_text(text.replace("embed_dim: 24", "embed_dim: 12"))
    refused(run_copy, "weights of another shape")
    config.write_text(text.replace("num_encoder_layers: 2", "num_encoder_layers: 3"))
    refused(run_copy, "lacks weights that the model needs")
    config.write_text(text.replace("num_encoder_layers: 2", "num_encoder_layers: 1"))
    refused(run_copy, "has weights that the model has no place for")
    config.write_text(text.replace("embed_dim: 24", "embed_dmi: 24"))
    refused(run_copy, "embed_dmi")


def test_a_class_that_only_the_file_names_is_not_imported(run_copy):
    config = run_copy / "config.yaml"
    config.write_text(config.read_text().replace("minitf.attention.MultiHeadAttention", "my.Own"))
    refused(run_copy, "name it yourself, with --attention my.Own")
    assert minitf.load(run_copy, device="cpu", attention="custom").translate(["Cats"]) != [""]
