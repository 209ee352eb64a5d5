"""Attention weights for figures."""

import pytest
import torch
from torch import nn

from minitf.attention import MultiHeadAttention


@pytest.mark.parametrize("attention", [MultiHeadAttention, nn.MultiheadAttention])
def test_maps_have_a_row_for_each_query_and_hide_padding_and_future(
    make_model, batch, sizes, attention
):
    model = make_model(attention=attention).double()
    src, tgt = batch
    maps = model.attention_maps(src, tgt)
    B, S, T, H = (sizes[name] for name in "BSTH")
    assert maps["encoder"].shape == (2, B, H, S, S)
    assert maps["decoder"].shape == (3, B, H, T, T)
    assert maps["cross"].shape == (3, B, H, T, S)
    for weights in maps.values():
        torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights.sum(-1)))
    padding = (src == 0)[None, :, None, None]
    assert maps["encoder"].masked_select(padding).abs().max() == 0
    assert maps["cross"].masked_select(padding).abs().max() == 0
    assert maps["decoder"].triu(1).abs().max() == 0


def test_both_attentions_give_the_same_maps(make_model, batch):
    ours = make_model(attention=MultiHeadAttention).double().attention_maps(*batch)
    theirs = make_model(attention=nn.MultiheadAttention).double().attention_maps(*batch)
    for kind in ours:
        torch.testing.assert_close(ours[kind], theirs[kind], rtol=1e-12, atol=1e-12)


def test_maps_leave_the_model_as_it_was(make_model, batch):
    model = make_model(dropout=0.5).train()
    model.encoder.eval()  # frozen, say
    maps = model.attention_maps(*batch)
    assert model.decoder.training
    assert not any(module.training for module in model.encoder.modules())
    assert all(not module._forward_hooks for module in model.modules())
    assert all(not module._forward_pre_hooks for module in model.modules())
    again = model.attention_maps(*batch)
    assert all(torch.equal(maps[kind], again[kind]) for kind in maps)  # no dropout in them


@pytest.mark.parametrize(
    ("given", "got"), [(lambda weights: None, "None"), (lambda weights: weights.mean(1), "shape")]
)
def test_an_attention_that_gives_no_weights_is_named(make_model, batch, given, got):
    class Silent(MultiHeadAttention):
        def forward(self, *args, **kwargs):
            output, weights = super().forward(*args, **kwargs)
            return output, given(weights) if weights is not None else None

    model = make_model(attention=Silent)
    with pytest.raises(ValueError, match=f"Silent gives no weights of every head.*: got {got}"):
        model.attention_maps(*batch)
    assert all(not module._forward_hooks for module in model.modules())
