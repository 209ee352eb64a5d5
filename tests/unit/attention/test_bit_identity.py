"""The custom module equals torch.nn.MultiheadAttention to the last bit.

Named exceptions, neither of which is in the grid: rows that see no key, and extra keys under a
causal hint without weights, where torch contradicts itself. On a GPU also torch's inference kernel.
"""

import copy
import itertools

import pytest
import torch
from torch import nn

from minitf.attention import MultiHeadAttention

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


@pytest.mark.parametrize("dtype", DTYPES)
def test_sample_of_the_grid(grid, dtype):
    cases = grid.sample(300, seed=1) + grid.sample(24, seed=2, sizes=grid.LARGE)
    assert list(grid.differences(MultiHeadAttention, cases, DTYPES[dtype])) == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_grid(grid, dtype):
    cases = grid.all_cases()
    assert len(cases) > 5_000
    assert list(grid.differences(MultiHeadAttention, cases, DTYPES[dtype])) == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_sample_of_large_sizes(grid, dtype):
    cases = grid.sample(400, seed=3, sizes=grid.LARGE)
    cases += grid.sample(20, seed=4, sizes=(1, 530, 1031, 2, 8))
    assert list(grid.differences(MultiHeadAttention, cases, DTYPES[dtype])) == []


@pytest.mark.parametrize("sizes", [(5, 11, 7, 3, 5), (3, 7, 5, 7, 3), (2, 31, 17, 3, 11),
                                   (2, 33, 17, 2, 11), (2, 33, 17, 8, 5)])  # fmt: skip
@pytest.mark.parametrize("dtype", DTYPES)
def test_odd_widths(grid, dtype, sizes):
    """There the parts of a packed projection lie unaligned, and torch copies them."""
    cases = grid.sample(120, seed=6, sizes=sizes)
    assert list(grid.differences(MultiHeadAttention, cases, DTYPES[dtype])) == []


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_head(grid, dtype):
    """Concatenating a single head copies nothing of itself, and yet must."""
    cases = grid.sample(60, seed=7, sizes=(3, 17, 11, 1, 7))
    assert list(grid.differences(MultiHeadAttention, cases, DTYPES[dtype])) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_with_any_number_of_threads(grid, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        cases = grid.sample(6, seed=5, sizes=(2, 131, 139, 4, 32))
        assert list(grid.differences(MultiHeadAttention, cases, torch.float32)) == []
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("batch_first", [True, False])
def test_under_autocast(batch_first):
    def run(cls):
        torch.manual_seed(0)
        module = cls(24, 4, dropout=0.2, batch_first=batch_first)
        x = torch.randn(5, 7, 24, requires_grad=True)
        mask = torch.randn(7, 7) if batch_first else torch.randn(5, 5)
        results = []
        with torch.autocast("cpu", torch.bfloat16):
            for need_weights in (True, False):
                results += module(x, x, x, attn_mask=mask, need_weights=need_weights)
        sum(r.float().square().sum() for r in results if r is not None).backward()
        return [*results, x.grad, *(p.grad for p in module.parameters())]

    for expected, actual in zip(run(nn.MultiheadAttention), run(MultiHeadAttention), strict=True):
        assert expected is actual or torch.equal(expected, actual)


def encoder_decoder(attention_class):
    """torch's own Transformer with every attention replaced by one of a class, same weights."""
    torch.manual_seed(0)
    model = nn.Transformer(24, 4, 2, 2, 48, dropout=0.1, batch_first=True)
    for layer in itertools.chain(model.encoder.layers, model.decoder.layers):
        for name in ("self_attn", "multihead_attn"):
            if hasattr(layer, name):
                replacement = attention_class(24, 4, dropout=0.1, batch_first=True)
                replacement.load_state_dict(getattr(layer, name).state_dict())
                setattr(layer, name, replacement)
    return model


@pytest.mark.parametrize("autocast", [False, True])
def test_training_run(autocast):
    """20 steps of an encoder-decoder with dropout: losses, gradient norms, final parameters."""

    def train(attention_class):
        model = encoder_decoder(attention_class)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        torch.manual_seed(1)
        causal = nn.Transformer.generate_square_subsequent_mask(5)
        trace = []
        for _ in range(20):
            src, tgt = torch.randn(3, 7, 24), torch.randn(3, 5, 24)
            padding = torch.arange(7) >= torch.randint(1, 8, (3, 1))
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                out = model(
                    src, tgt, tgt_mask=causal, src_key_padding_mask=padding,
                    memory_key_padding_mask=padding, tgt_is_causal=True,
                )  # fmt: skip
            loss = (out.float() - tgt).square().mean()
            optimizer.zero_grad()
            loss.backward()
            trace += [loss.item(), nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()]
            optimizer.step()
        return trace, copy.deepcopy(model.state_dict())

    expected, expected_state = train(nn.MultiheadAttention)
    actual, actual_state = train(MultiHeadAttention)
    assert actual == expected
    for name, value in expected_state.items():
        assert torch.equal(actual_state[name], value), name


class Subclass(torch.Tensor):
    """As quantization and sharding have."""


@pytest.mark.parametrize(
    "departure",
    ["sequence_first", "odd_heads", "no_bias", "extra_key", "float_mask", "grad", "autocast",
     "switched_off", "bias_dtype", "subclass", "cross", "none"],
)  # fmt: skip
def test_torch_is_followed_into_its_inference_kernel_and_no_further(departure):
    """Whichever condition sends torch back to its usual path does so here too."""
    torch.manual_seed(0)
    heads = 3 if departure == "odd_heads" else 4
    theirs = nn.MultiheadAttention(
        24, heads, bias=departure != "no_bias", add_bias_kv=departure == "extra_key",
        batch_first=departure != "sequence_first",
    ).eval()  # fmt: skip
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    options = {"bias": departure != "no_bias", "add_bias_kv": departure == "extra_key"}
    ours = MultiHeadAttention(24, heads, batch_first=theirs.batch_first, **options).eval()
    ours.load_state_dict(theirs.state_dict())
    for module in (ours, theirs):
        if departure == "bias_dtype":
            module.in_proj_bias = nn.Parameter(module.in_proj_bias.half())
        if departure == "subclass":
            module.in_proj_bias = nn.Parameter(module.in_proj_bias.detach().as_subclass(Subclass))
    x = torch.randn(5, 5, 24)
    key = torch.randn(5, 5, 24) if departure == "cross" else x
    mask = torch.ones(5, 5).triu(1).bool()
    mask = mask.float() if departure == "float_mask" else mask
    torch.backends.mha.set_fastpath_enabled(departure != "switched_off")
    try:
        for need_weights in (True, False):
            for masks in ({}, {"attn_mask": mask}, {"key_padding_mask": mask.flip(0, 1)}):
                with (
                    torch.set_grad_enabled(departure == "grad"),
                    torch.autocast("cpu", torch.bfloat16, enabled=departure == "autocast"),
                ):
                    a, b = (
                        module(x, key, key, need_weights=need_weights, **masks)
                        for module in (ours, theirs)
                    )
                for got, want in zip(a, b, strict=True):
                    assert got is want or torch.equal(got, want)
                    assert got is want or got.stride() == want.stride()
    finally:
        torch.backends.mha.set_fastpath_enabled(True)


@pytest.mark.parametrize("mode", ["train", "eval", "inference"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("need_weights", [False, True])
def test_causal_without_a_mask_equals_torch_with_one(mode, padded, need_weights):
    """So a model may leave the mask out, and its validation loss keeps torch's bits."""
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(24, 4, batch_first=True).train(mode == "train")
    ours = MultiHeadAttention(24, 4, batch_first=True).train(mode == "train")
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(3, 7, 24)
    options = {"is_causal": True, "need_weights": need_weights}
    if padded:
        options["key_padding_mask"] = torch.arange(7) >= torch.tensor([[7], [3], [5]])
    causal = torch.ones(7, 7, dtype=torch.bool).triu(1)
    with torch.set_grad_enabled(mode != "inference"):
        a, b = ours(x, x, x, **options), theirs(x, x, x, attn_mask=causal, **options)
    for got, want in zip(a, b, strict=True):
        assert got is want or torch.equal(got, want)
