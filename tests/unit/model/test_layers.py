"""Layers against torch's own, which load their weights as they are."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minitf.attention import MultiHeadAttention, linear
from minitf.model.layers import DecoderLayer, EncoderLayer

B, S, T, H, E, FF = 2, 5, 7, 3, 12, 17
ATTENTIONS = [MultiHeadAttention, nn.MultiheadAttention]
TORCH = {"dim_feedforward": FF, "batch_first": True, "dtype": torch.float64}


def _randomise(module):
    """Also the norms' weights and the biases: at ones and zeros a mistake could hide."""
    generator = torch.Generator().manual_seed(5)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 2


def _layer(kind, attention, *, norm, activation, **dropout):
    heads = [attention(E, H, batch_first=True) for _ in range(1 if kind is EncoderLayer else 2)]
    options = {"dropout": 0.0, "activation_dropout": 0.0, **dropout}
    layer = kind(E, FF, *heads, activation=activation, pre_norm=norm == "pre", **options)
    layer = layer.double()
    _randomise(layer)
    return layer


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_encoder_layer_is_torchs(attention, norm, activation):
    ours = _layer(EncoderLayer, attention, norm=norm, activation=activation)
    theirs = nn.TransformerEncoderLayer(
        E, H, activation=activation, norm_first=norm == "pre", **TORCH
    )
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(B, S, E, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    padding = torch.tensor([[False] * S, [False, False, True, True, True]])
    theirs.train()
    theirs.dropout.p = theirs.dropout1.p = theirs.dropout2.p = theirs.self_attn.dropout = 0.0
    expected = theirs(x, src_key_padding_mask=padding)
    torch.testing.assert_close(ours(x, padding), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_decoder_layer_is_torchs(attention, norm, activation):
    ours = _layer(DecoderLayer, attention, norm=norm, activation=activation)
    theirs = nn.TransformerDecoderLayer(
        E, H, activation=activation, norm_first=norm == "pre", **TORCH
    )
    theirs.load_state_dict(ours.state_dict())
    theirs.eval()
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(B, T, E, dtype=torch.float64, generator=generator)
    memory = torch.randn(B, S, E, dtype=torch.float64, generator=generator)
    padding = torch.tensor([[False] * S, [False, False, True, True, True]])
    causal = torch.ones(T, T, dtype=torch.bool).triu(1)
    expected = theirs(
        x, memory, tgt_mask=causal, memory_key_padding_mask=padding, tgt_is_causal=True
    )
    found = ours(x, memory, causal, padding)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_several_rows_of_one_sentence_share_its_memory(attention):
    layer = _layer(DecoderLayer, attention, norm="pre", activation="swiglu")
    beams = 3
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(B * beams, T, E, dtype=torch.float64, generator=generator)
    memory = torch.randn(B, S, E, dtype=torch.float64, generator=generator)
    padding = torch.tensor([[False] * S, [False, False, True, True, True]])
    causal = torch.ones(T, T, dtype=torch.bool).triu(1)
    shared = layer(x, memory, causal, padding)
    repeated = layer(
        x, memory.repeat_interleave(beams, 0), causal, padding.repeat_interleave(beams, 0)
    )
    torch.testing.assert_close(shared, repeated, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("kind", [EncoderLayer, DecoderLayer])
def test_dropout_stands_where_torchs_stands(kind, norm, monkeypatch):
    """With the same random numbers on the same values, training follows torch's layer."""
    monkeypatch.setattr("minitf.model.dropout.dropout", F.dropout)
    p = 0.4
    ours = _layer(
        kind, nn.MultiheadAttention, norm=norm, activation="relu", dropout=p, activation_dropout=p
    )
    torchs = nn.TransformerEncoderLayer if kind is EncoderLayer else nn.TransformerDecoderLayer
    theirs = torchs(E, H, dropout=p, norm_first=norm == "pre", **TORCH)
    theirs.load_state_dict(ours.state_dict())
    for module in theirs.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    x = torch.randn(B, T, E, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    causal = torch.ones(T, T, dtype=torch.bool).triu(1)
    nothing = torch.zeros(B, T, dtype=torch.bool)
    outputs = []
    for layer in (ours, theirs):
        torch.manual_seed(11)
        if kind is DecoderLayer:
            args = (causal, nothing) if layer is ours else (causal,)
            outputs.append(layer(x, x + 1, *args))
        else:
            outputs.append(layer(x, nothing) if layer is ours else layer(x))
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("returned", "received"),
    [
        (lambda out: out, r"a Tensor of shape \(2, 5, 12\)"),
        (lambda out: (out[:, :1], None), r"a tuple \(\(2, 1, 12\), None\)"),
        (lambda out: (out.transpose(0, 1), None), r"a tuple \(\(5, 2, 12\), None\)"),
        (lambda out: (out, None, None), r"a tuple \(\(2, 5, 12\), None, None\)"),
        (lambda out: (out, None, (out, out)), r"a tuple \(\(2, 5, 12\), None, a tuple\)"),
        (lambda out: (None, out), r"a tuple \(None, \(2, 5, 12\)\)"),
        (lambda out: None, "a NoneType"),
    ],
)
def test_an_attention_that_returns_something_else_is_refused(returned, received):
    """Unpacking alone would split a batch of two, and broadcasting hide a wrong shape."""

    class Own(MultiHeadAttention):
        def forward(self, *args, **options):
            return returned(super().forward(*args, **options)[0])

    layer = _layer(EncoderLayer, Own, norm="pre", activation="relu")
    x = torch.randn(B, S, E, dtype=torch.float64)
    rule = r"Own.forward must return \(output, weights or None\), .* \(2, 5, 12\); received "
    with pytest.raises(ValueError, match=rule + received + "$"):
        layer(x, torch.zeros(B, S, dtype=torch.bool))


@pytest.mark.skipif(not torch._C._has_mkldnn, reason="this torch has no oneDNN")
@pytest.mark.parametrize("mkl_leaves_avx512", [True, False])
def test_feed_forward_networks_multiply_by_the_quicker_library(monkeypatch, mkl_leaves_avx512):
    E, width = 22, 13
    multiply, seen = linear.multiply, []

    def watched(x, weight, bias=None):
        seen.append(tuple(weight.shape))
        return multiply(x, weight, bias)

    monkeypatch.setattr(linear, "multiply", watched)
    monkeypatch.setattr(linear, "FEWEST_PRODUCTS", 0)
    monkeypatch.setattr(linear, "mkl_leaves_avx512", lambda: mkl_leaves_avx512)
    options = {"activation": "relu", "pre_norm": True, "dropout": 0.0, "activation_dropout": 0.0}
    attentions = [MultiHeadAttention(E, 2, batch_first=True) for _ in range(2)]
    x, padding = torch.randn(3, 5, E), torch.zeros(3, 5, dtype=torch.bool)
    EncoderLayer(E, width, attentions[0], **options)(x, padding)
    DecoderLayer(E, width, *attentions, **options)(x, x, None, padding)
    assert seen == (2 * [(width, E), (E, width)] if mkl_leaves_avx512 else [])
