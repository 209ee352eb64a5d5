"""Attention maps show the weights they are given, with a token at every row and column."""

import io

import pytest
import torch

import minitf
from minitf.config.errors import UserError
from minitf.reports.attention_maps import cross_attention, draw_attention

ROWS = ["Ein", " $Hund$", "läuft", "⟨end⟩", "<b>"]
COLUMNS = ["A", " dog", "runs"]


@pytest.fixture
def weights():
    generator = torch.Generator().manual_seed(11)
    return torch.randn(2, 3, 5, 3, generator=generator).softmax(-1)  # (L, H, T, S)


def images(figure):
    return [(axes, axes.images[0].get_array().data) for axes in figure.axes if axes.images]


def test_there_is_a_map_of_everything_and_for_each_layer_its_mean_and_each_head(weights):
    found = images(draw_attention(weights, ROWS, COLUMNS))
    expected = [weights.mean((0, 1))]
    for layer in weights:
        expected += [layer.mean(0), *layer]
    assert len(found) == len(expected)
    for (_, drawn), map_ in zip(found, expected, strict=True):
        torch.testing.assert_close(torch.as_tensor(drawn), map_)


def test_each_row_is_the_token_that_its_weights_wrote(tiny_run):
    translator = minitf.load(tiny_run, device="cpu")
    model, tokenizer = translator.model, translator.tokenizer
    source, target = "A small dog.", "Ein Hund."
    ids = tokenizer.encode(target)
    found, written, read = cross_attention(model, tokenizer, tokenizer.encode(source), ids)
    assert written == [*tokenizer.pieces(ids), "⟨end⟩"]
    assert read == [*tokenizer.pieces(tokenizer.encode(source)), "⟨end⟩"]
    src = torch.tensor([[*tokenizer.encode(source), tokenizer.eos_id]])
    for row in range(len(written)):  # what wrote a token has read only those before it
        maps = model.attention_maps(src, torch.tensor([[tokenizer.bos_id, *ids[:row]]]))
        torch.testing.assert_close(found[:, :, row], maps["cross"][:, 0, :, -1])


def test_tokens_are_the_labels(weights):
    axes, _ = images(draw_attention(weights, ROWS, COLUMNS))[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == COLUMNS
    assert [label.get_text().replace("\\", "") for label in axes.get_yticklabels()] == ROWS


def test_the_picture_can_be_written(weights):
    file = io.BytesIO()
    draw_attention(weights, ROWS, COLUMNS).savefig(file, format="png")
    assert file.getvalue().startswith(b"\x89PNG")


def test_sentences_too_long_to_read_are_refused():
    with pytest.raises(UserError, match="up to 60 tokens; received 61 source and 2 target"):
        draw_attention(torch.zeros(1, 1, 2, 61), ["a"] * 2, ["b"] * 61)


def ends(figure):
    return {(axes.images[0].norm.vmin, axes.images[0].norm.vmax) for axes, _ in images(figure)}


def test_distributions_are_coloured_from_0_to_1(weights):
    figure = draw_attention(weights, ROWS, COLUMNS)
    assert ends(figure) == {(0, 1)}
    assert figure.axes[0].get_title() == "mean of all heads"


@pytest.mark.parametrize(("factor", "offset"), [(1, -0.5), (5, 0)])
def test_weights_that_are_no_distribution_are_coloured_by_their_size(weights, factor, offset):
    other = factor * weights + offset
    figure = draw_attention(other, ROWS, COLUMNS)
    most = other.abs().max().item()
    assert ends(figure) == {(-most, most)}
    assert "no distributions: weights from" in figure.axes[0].get_title()
    if offset:
        assert any(text.get_text().startswith("-0.") for text in figure.axes[0].texts)


def test_weights_that_are_not_numbers_are_drawn(weights):
    weights[0, 0] = float("nan")
    figure = draw_attention(weights, ROWS, COLUMNS)
    assert ends(figure) == {(0, 1)}
    figure.savefig(io.BytesIO(), format="png")
