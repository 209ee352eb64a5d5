"""The class in torch's own places: its Transformer layers, its inference kernels, its test cases.

torch.testing's module_db holds constructor and mask combinations with a reference; what torch's own
test file for the module checks beyond them is checked in test_module and here: shapes of errors, a
query and bias of different dtypes, masks of both kinds beside each other, a mask per sentence.
"""

import pytest
import torch
import torch.nn.modules.transformer as transformer
from torch import nn
from torch.testing._internal.common_modules import module_db

from minitf.attention import MultiHeadAttention

E, H, B, T = 24, 4, 3, 7
[INFO] = [info for info in module_db if info.module_cls is nn.MultiheadAttention]


@pytest.fixture
def replaced(monkeypatch):
    """torch's namespaces hold the custom class."""
    for namespace in (nn, nn.modules, nn.modules.activation, transformer):
        monkeypatch.setattr(namespace, "MultiheadAttention", MultiHeadAttention)


def encoder(**options):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(E, H, 48, batch_first=True, **options)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=not options.get("norm_first"))


def calls(model):
    """Every way of masking that torch's encoder offers, from one random state."""
    generator = torch.Generator().manual_seed(1)
    src = torch.randn(B, T, E, generator=generator)
    padding = torch.arange(T) >= torch.tensor([[T], [3], [5]])
    causal = nn.Transformer.generate_square_subsequent_mask(T)
    torch.manual_seed(2)
    return [
        model(src),
        model(src, src_key_padding_mask=padding),
        model(src, mask=causal, is_causal=True),
        model(src, mask=causal.isinf(), src_key_padding_mask=padding),
        model(src, mask=causal.isinf().expand(B * H, T, T)),
    ]


@pytest.mark.parametrize("mode", ["train", "eval", "inference"])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_encoder(monkeypatch, request, mode, norm_first):
    """The same bits, by way of torch's fused inference kernel too, for which merge_masks is."""
    theirs = encoder(norm_first=norm_first)
    request.getfixturevalue("replaced")
    ours = encoder(norm_first=norm_first)
    assert isinstance(ours.layers[0].self_attn, MultiHeadAttention)
    for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(a, b)  # initialisation draws the same numbers
    with torch.set_grad_enabled(mode != "inference"):
        results = [calls(model.train(mode == "train")) for model in (ours, theirs)]
    for a, b in zip(*results, strict=True):
        assert torch.equal(a, b)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_encoder_on_nested_tensors(request):
    theirs = encoder().eval()
    request.getfixturevalue("replaced")
    ours = encoder().eval()
    nested = torch.nested.nested_tensor([torch.randn(3, E), torch.randn(5, E)])
    with torch.no_grad():
        a, b = (model(nested).to_padded_tensor(0.0) for model in (ours, theirs))
        assert torch.equal(a, b)
        hooked = ours.layers[0].self_attn.out_proj.register_forward_hook(lambda *args: None)
        c = ours(nested).to_padded_tensor(0.0)  # a hook sends the layer to the module itself
        hooked.remove()
    torch.testing.assert_close(c, b)


@pytest.mark.usefixtures("replaced")
def test_transformer():
    torch.manual_seed(0)
    model = nn.Transformer(E, H, 1, 1, 48, batch_first=True)
    assert isinstance(model.decoder.layers[0].multihead_attn, MultiHeadAttention)
    mask = model.generate_square_subsequent_mask(T)
    output = model(torch.randn(B, 5, E), torch.randn(B, T, E), tgt_mask=mask, tgt_is_causal=True)
    output.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def samples(dtype):
    torch.manual_seed(0)
    return INFO.module_inputs_func(INFO, "cpu", dtype, True, True)


@pytest.mark.parametrize("index", range(len(samples(torch.float64))))
def test_module_db(index):
    """torch's combinations: against torch's module, gradcheck and gradgradcheck."""
    sample = samples(torch.float64)[index]
    constructor, forward = sample.constructor_input, sample.forward_input
    torch.manual_seed(1)
    theirs = nn.MultiheadAttention(*constructor.args, **constructor.kwargs, dtype=torch.float64)
    ours = MultiHeadAttention(*constructor.args, **constructor.kwargs, dtype=torch.float64)
    ours.load_state_dict(theirs.state_dict())
    for a, b in zip(ours(*forward.args, **forward.kwargs),
                    theirs(*forward.args, **forward.kwargs), strict=True):  # fmt: skip
        assert torch.equal(a, b)
    leaves = (*forward.args, *ours.parameters())

    def run(*leaves):
        names = [name for name, _ in ours.named_parameters()]
        state = dict(zip(names, leaves[3:], strict=True))
        return torch.func.functional_call(ours, state, leaves[:3], forward.kwargs)

    assert torch.autograd.gradcheck(run, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, leaves, fast_mode=True)


def test_module_db_is_not_empty():
    assert len(samples(torch.float64)) >= 32


def test_query_and_bias_of_different_dtypes():
    attention = MultiHeadAttention(4, 4, batch_first=True, dtype=torch.float64).eval()
    attention.in_proj_bias = nn.Parameter(attention.in_proj_bias.half())
    query = torch.randn(4, 4, 4, dtype=torch.float64)
    assert attention(query, query, query)[0].dtype == torch.float64


def test_a_mask_per_sentence_and_head_equals_sentence_by_sentence():
    torch.manual_seed(0)
    attention = MultiHeadAttention(8, 4)
    query, key = torch.rand(2, 8, 8), torch.rand(3, 8, 8)
    mask = torch.zeros(8, 2, 3).masked_fill(torch.rand(8, 2, 3) < 0.5, -torch.inf)
    together, _ = attention(query, key, key, attn_mask=mask.repeat_interleave(4, dim=0))
    for b in range(8):
        q, k = query[:, b : b + 1], key[:, b : b + 1]
        alone, _ = attention(q, k, k, attn_mask=mask[b])
        torch.testing.assert_close(together[:, b : b + 1], alone)


def test_unbatched_masks_of_wrong_heads():
    attention, x = MultiHeadAttention(4, 4), torch.randn(4, 4)
    with pytest.raises(AssertionError, match=r"Expected `attn_mask` shape to be \(4, 4, 4\)"):
        attention(x, x, x, attn_mask=torch.zeros(5, 4, 4, dtype=torch.bool))


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_empty_nested_tensor():
    empty = torch.nested.nested_tensor([], layout=torch.strided)
    attention = MultiHeadAttention(4, 2, batch_first=True)
    with pytest.raises(AssertionError, match="received 1-D query tensor"):
        attention(empty, empty, empty)
