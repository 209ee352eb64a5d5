"""The whole model: against torch's stacks, masks, sharing of weights, refusals."""

import functools
import math

import pytest
import torch
from torch import nn

from minitf.attention import MultiHeadAttention
from minitf.attention.functional import HeadLayout, merge_heads, project_inputs
from minitf.model import Transformer, label_smoothed_cross_entropy
from minitf.model.checks import check_attention

ATTENTIONS = [MultiHeadAttention, nn.MultiheadAttention]


def _torch_logits(model, src, tgt, norm):
    """The same from nn.TransformerEncoder and nn.TransformerDecoder with the model's weights."""
    E, H, FF = model.embed_dim, model.encoder.layers[0].self_attn.num_heads, 37
    options = {"norm_first": norm == "pre", "batch_first": True, "dropout": 0.0}
    final = [nn.LayerNorm(E) if norm == "pre" else None for _ in range(2)]
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(E, H, FF, **options),
        len(model.encoder.layers),
        final[0],
        enable_nested_tensor=False,
    )
    decoder = nn.TransformerDecoder(
        nn.TransformerDecoderLayer(E, H, FF, **options), len(model.decoder.layers), final[1]
    )
    encoder.load_state_dict(model.encoder.state_dict())
    decoder.load_state_dict(model.decoder.state_dict())
    padding = src == 0
    length = tgt.size(1)
    embedded = [
        embedding.weight[tokens] * math.sqrt(E) + positions.table[: tokens.size(1)]
        for embedding, positions, tokens in (
            (model.src_embedding, model.src_positions, src),
            (model.tgt_embedding, model.tgt_positions, tgt),
        )
    ]
    memory = encoder(embedded[0], src_key_padding_mask=padding)
    causal = torch.ones(length, length, dtype=torch.bool).triu(1)
    hidden = decoder(
        embedded[1], memory, tgt_mask=causal, memory_key_padding_mask=padding, tgt_is_causal=True
    )
    return hidden @ model.output_projection.weight.T


@pytest.mark.parametrize("attention", ATTENTIONS)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_logits_are_torchs(make_model, batch, attention, norm):
    model = make_model(norm=norm, attention=attention)
    src, tgt = batch
    torch.testing.assert_close(
        model(src, tgt), _torch_logits(model, src, tgt, norm), rtol=0, atol=1e-5
    )


OPTIONS = [
    {"norm": norm, "positions": positions, "activation": activation, "tied_embeddings": tied}
    for norm, positions, activation, tied in [
        ("pre", "sinusoidal", "relu", "three_way"),
        ("post", "learned", "gelu", "two_way"),
        ("pre", "rotary", "swiglu", "untied"),
    ]
]
EVEN = {"embed_dim": 30, "num_heads": 3}  # rotary positions turn pairs of a head's dimensions


@pytest.mark.parametrize("options", OPTIONS)
def test_no_position_sees_what_follows_it_and_none_sees_padding(make_model, batch, options, sizes):
    model = make_model(**EVEN, **options).double()
    src, tgt = batch
    logits = model(src, tgt)
    assert logits.shape == (sizes["B"], sizes["T"], sizes["V"])
    changed = tgt.clone()
    changed[:, 5:] = 3 + (changed[:, 5:] + 1) % (sizes["V"] - 3)
    after = model(src, changed)
    assert torch.equal(after[:, :5], logits[:, :5])
    assert not torch.isclose(after[:, 5:], logits[:, 5:]).all(-1).any()
    # A sentence alone, without its padding, gets the same.
    alone = model(src[2:3, :4], tgt[2:3])
    torch.testing.assert_close(alone, logits[2:3], rtol=1e-12, atol=1e-12)
    alone = model(src[1:2], tgt[1:2, :6])
    torch.testing.assert_close(alone, logits[1:2, :6], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_order_of_the_source_matters(make_model, batch, options):
    model = make_model(**EVEN, **options).double()
    src, tgt = batch
    assert not torch.isclose(model(src[:1].flip(1), tgt[:1]), model(src[:1], tgt[:1])).all()


@pytest.mark.parametrize("options", OPTIONS)
def test_a_state_gives_what_the_whole_prefix_gives(make_model, batch, options):
    model = make_model(**EVEN, **options).double().eval()
    src, tgt = batch
    beams = 2
    tgt = tgt.repeat_interleave(beams, 0)
    tgt[1::beams] = tgt[1::beams].flip(1)
    memory, padding = model.encode(src), model.src_padding_mask(src)
    whole = model.decode(tgt, memory, padding)
    state = model.new_state()
    pieces = [model.decode(tgt[:, a:b], memory, padding, state) for a, b in ((0, 3), (3, 4))]
    pieces += [model.decode(tgt[:, i : i + 1], memory, padding, state) for i in range(4, 11)]
    assert state.length == 11
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=1e-12, atol=1e-12)


def test_no_state_where_the_attention_has_no_cache(make_model):
    assert make_model(attention=nn.MultiheadAttention).new_state() is None


class OwnFormula(MultiHeadAttention):
    """Derives from ours, and obeys attn_mask and key_padding_mask but not is_causal."""

    def forward(self, query, key, value, key_padding_mask=None, attn_mask=None, cache=None, **_):
        heads = HeadLayout(self.num_heads, batch_first=True, slices=True)
        q, k, v = project_inputs(query, key, value, self.in_proj_weight, self.in_proj_bias, heads)
        if cache is not None:
            k, v = cache.update(k, v) if not cache.is_full else cache.held(len(q))
        scores = q @ k.mT / math.sqrt(self.head_dim)
        for mask in (
            attn_mask,
            None if key_padding_mask is None else key_padding_mask[:, None, None],
        ):
            scores = scores if mask is None else scores.masked_fill(mask, float("-inf"))
        return self.out_proj(merge_heads(scores.softmax(-1) @ v, batch_first=True)), None


def test_an_own_formula_behind_our_class_does_not_see_the_future(make_model, batch):
    own, ours = (make_model(attention=c).double().eval() for c in (OwnFormula, MultiHeadAttention))
    src, tgt = batch
    torch.testing.assert_close(own(src, tgt), ours(src, tgt), rtol=1e-12, atol=1e-12)
    memory, padding = own.encode(src), own.src_padding_mask(src)
    whole = own.decode(tgt, memory, padding)
    state = own.new_state()
    cuts = (1, 2, tgt.size(1) - 3)  # one token, and several, behind others
    pieces = [own.decode(part, memory, padding, state) for part in tgt.split(cuts, dim=1)]
    torch.testing.assert_close(torch.cat(pieces, 1), whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("tied", "matrices"), [("three_way", 1), ("two_way", 2), ("untied", 3)])
def test_tied_embeddings_share_their_weight(make_model, sizes, tied, matrices):
    model = make_model(tied_embeddings=tied)
    weights = [
        model.src_embedding.weight, model.tgt_embedding.weight, model.output_projection.weight
    ]  # fmt: skip
    assert len({weight.data_ptr() for weight in weights}) == matrices
    assert (weights[1] is weights[2]) == (tied != "untied")
    assert all(weight.shape == (sizes["V"], sizes["E"]) for weight in weights)


def test_size_of_the_published_tiny_model():
    """Wu et al. 2021: 2.6 M parameters with 10k merges and all embeddings shared."""
    model = Transformer(
        9_800, embed_dim=128, num_heads=4, num_encoder_layers=4, num_decoder_layers=4,
        feedforward_dim=256, norm="post",
    )  # fmt: skip
    attention, feedforward, norm = 4 * 128 * 129, 2 * 128 * 256 + 128 + 256, 2 * 128
    layers = 4 * (attention + feedforward + 2 * norm) + 4 * (2 * attention + feedforward + 3 * norm)
    assert sum(p.numel() for p in model.parameters()) == layers + 9_800 * 128 < 2.6e6


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_training_is_bit_identical_under_both_attentions(make_model, batch, norm, dropout):
    src, tgt = batch
    runs = []
    for attention in ATTENTIONS:
        model = make_model(
            attention=attention, norm=norm, dropout=dropout, attention_dropout=dropout,
            activation_dropout=dropout, embed_dim=22, num_heads=2,
        )  # fmt: skip
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        losses = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = label_smoothed_cross_entropy(
                model(src, tgt[:, :-1]), tgt[:, 1:], label_smoothing=0.1
            ).loss
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        runs.append((losses, model.state_dict(), torch.get_rng_state()))
    (losses, weights, rng), (their_losses, their_weights, their_rng) = runs
    assert losses == their_losses
    assert losses[-1] < losses[0]
    assert list(weights) == list(their_weights)
    assert all(torch.equal(weights[name], their_weights[name]) for name in weights)
    assert torch.equal(rng, their_rng)


def test_attention_is_built_once_per_use_with_the_stated_arguments():
    calls = []

    class Spy(MultiHeadAttention):
        def __init__(self, *args, **kwargs):
            calls.append((args, kwargs))
            super().__init__(*args, **kwargs)

    Transformer(29, embed_dim=18, num_heads=3, num_encoder_layers=2, num_decoder_layers=2,
                positions="rotary", attention_dropout=0.2, attention=Spy)  # fmt: skip
    own, cross = {"dropout": 0.2, "batch_first": True, "rotary_base": 10_000.0}, {}
    cross = {name: value for name, value in own.items() if name != "rotary_base"}
    assert calls == [((18, 3), kwargs) for kwargs in (own, own, own, cross, own, cross)]


@pytest.mark.parametrize("roles", [["encoder"], ["decoder"], ["cross"], ["cross", "encoder"]])
def test_an_attention_may_be_used_in_some_places_alone(make_model, batch, roles):
    """The draws, and so the weights, are those of the same class everywhere."""

    class Mine(MultiHeadAttention):
        pass

    model = make_model(attention=Mine, attention_in=roles)
    layers = {
        "encoder": [layer.self_attn for layer in model.encoder.layers],
        "decoder": [layer.self_attn for layer in model.decoder.layers],
        "cross": [layer.multihead_attn for layer in model.decoder.layers],
    }
    for role, modules in layers.items():
        assert {type(m) for m in modules} == {Mine if role in roles else MultiHeadAttention}
    everywhere = make_model(attention=Mine)
    assert torch.equal(model.eval()(*batch), everywhere.eval()(*batch))


def test_rotary_positions_are_asked_of_self_attentions_alone(make_model):
    options = {"positions": "rotary", "embed_dim": 18, "attention": nn.MultiheadAttention}
    make_model(**options, attention_in=["cross"])
    with pytest.raises(ValueError, match="needs an attention that takes `rotary_base`"):
        make_model(**options, attention_in=["decoder"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attention_in": []}, r"model.attention_in must be a list of one or more of enc.* \[\]"),
        ({"attention_in": ["self"]}, r"more of encoder, decoder, cross, got \[self\]"),
        ({"attention_in": "cross"}, r"more of encoder, decoder, cross, got 'cross'"),
        ({"embed_dim": 20, "num_heads": 3}, r"embed_dim must be a multiple of model.num_heads"),
        ({"num_heads": 0}, r"model.num_heads must be at least 1, got 0"),
        ({"num_decoder_layers": 0}, r"model.num_decoder_layers must be at least 1, got 0"),
        ({"dropout": 1.0}, r"model.dropout must be at least 0 and below 1, got 1.0"),
        ({"attention_dropout": -0.1}, r"model.attention_dropout must be at least 0"),
        ({"activation_dropout": 2.0}, r"model.activation_dropout must be at least 0"),
        ({"norm": "before"}, r"model.norm must be one of pre, post, got 'before'"),
        ({"positions": "sin"}, r"model.positions must be one of sinusoidal, learned, rotary"),
        ({"activation": "tanh"}, r"model.activation must be one of relu, gelu, swiglu"),
        ({"tied_embeddings": "all"}, r"model.tied_embeddings must be one of three_way"),
        ({"pad_id": 29}, r"pad_id must be from 0 to vocab_size - 1, got 29"),
        (
            {"positions": "rotary", "attention": nn.MultiheadAttention},
            r"needs an attention that takes `rotary_base`; .*MultiheadAttention does not",
        ),
        (
            {"positions": "rotary", "attention": functools.partial(nn.MultiheadAttention)},
            r"needs an attention that takes `rotary_base`; .*MultiheadAttention does not",
        ),
    ],
)
def test_refusals_are_one_line(make_model, options, message):
    with pytest.raises(ValueError, match=message) as error:
        make_model(**options)
    assert "\n" not in str(error.value)


def test_an_attention_that_swallows_rotary_base_is_refused(make_model):
    class Swallows(nn.MultiheadAttention):
        def __init__(self, embed_dim, num_heads, **kwargs):
            super().__init__(embed_dim, num_heads, batch_first=True)

    with pytest.raises(ValueError, match=r"Swallows takes any argument and has no .* rotary_base"):
        make_model(positions="rotary", attention=Swallows)


def test_an_empty_batch_has_logits(make_model):
    model = make_model(attention=MultiHeadAttention)
    src, tgt = torch.zeros(0, 5, dtype=torch.long), torch.zeros(0, 4, dtype=torch.long)
    assert model(src, tgt).shape == (0, 4, model.vocab_size)


def test_an_attentions_name_is_no_attention():
    with pytest.raises(ValueError, match=r"attention must be a class such as .*, got 'torch'"):
        check_attention("torch")


def test_source_and_target_have_learned_positions_of_their_own(make_model, batch):
    model = make_model(positions="learned").double()
    src, tgt = batch
    memory = model.encode(src)
    hidden = model.decode(tgt, memory, model.src_padding_mask(src))
    with torch.no_grad():
        model.tgt_positions.weight += torch.randn(model.tgt_positions.weight.shape)
    assert torch.equal(model.encode(src), memory)
    assert not torch.isclose(model.decode(tgt, memory, model.src_padding_mask(src)), hidden).any()


def test_learned_positions_refuse_long_inputs(make_model, batch):
    model = make_model(positions="learned", max_length=10)
    src, tgt = batch
    assert model.max_positions == 10
    model(src, tgt[:, :10])
    with pytest.raises(ValueError, match="vectors for 10 positions, got a sequence of 11 tokens"):
        model(src, tgt)


def test_state_dict_holds_no_buffers_and_loads_back(make_model, batch):
    model, other = make_model(seed=0), make_model(seed=1)
    assert set(model.state_dict()) == {
        name for name, _ in model.named_parameters(remove_duplicate=False)
    }
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(*batch), model(*batch))
