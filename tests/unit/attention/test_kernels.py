"""Kernels that are not bit-identical: their error, their refusals, dropout in blocks."""

import functools

import pytest
import torch
from torch import nn

from minitf.attention import AttentionError, MultiHeadAttention
from minitf.attention.kernels import blockwise
from minitf.attention.kernels.math import math_attention

B, H, T, S, D = 3, 4, 37, 53, 16
E = H * D


def errors(cls, oracle, inputs, dtype, **options):
    """Mean absolute error of output and every gradient against a float64 oracle."""

    def run(module, dtype):
        leaves = [x.detach().to(dtype).clone().requires_grad_() for x in inputs]
        query, key = leaves[0], leaves[-1]
        masks = {
            k: m.to(dtype) if m.is_floating_point() else m
            for k, m in options.items()
            if isinstance(m, torch.Tensor)
        }
        flags = {k: v for k, v in options.items() if k not in masks}
        output, _ = module(query, key, key, **masks, **flags)
        slope = torch.randn(output.shape, generator=torch.Generator().manual_seed(7))
        output.backward(slope.bfloat16().to(dtype))
        results = {"output": output} | {f"grad of input {i}": x.grad for i, x in enumerate(leaves)}
        return results | {f"grad of {n}": p.grad for n, p in module.named_parameters()}

    module = cls(dtype=dtype)
    module.load_state_dict(oracle.state_dict())
    oracle.load_state_dict(module.state_dict())  # the oracle has the rounded parameters
    inputs = [x.to(dtype).double() for x in inputs]
    oracle.zero_grad()
    truth, results = run(oracle, torch.float64), run(module, dtype)
    return {name: (results[name].double() - truth[name]).abs().mean().item() for name in truth}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masks", ["none", "causal", "padding", "float"])
@pytest.mark.parametrize("inputs", ["self", "cross"])
@pytest.mark.parametrize("need_weights", [False, True])
def test_fast_is_as_exact_as_torch(dtype, masks, inputs, need_weights):
    """At most 1.1 times the error of torch's module, for the output and each gradient."""
    source = T if inputs == "self" else S
    options = {
        "none": {},
        "causal": {"attn_mask": torch.ones(T, source, dtype=torch.bool).triu(1), "is_causal": True},
        "padding": {"key_padding_mask": torch.arange(source) >= torch.tensor([[source], [9], [1]])},
        "float": {"attn_mask": torch.randn(T, source, generator=torch.Generator().manual_seed(1))},
    }[masks]
    totals = {}
    for seed in range(6 if dtype == torch.float32 else 16):
        torch.manual_seed(seed)
        oracle = nn.MultiheadAttention(E, H, batch_first=True, dtype=torch.float64)
        nn.init.normal_(oracle.in_proj_bias)
        tensors = [torch.randn(B, T, E)] + [torch.randn(B, S, E)] * (inputs == "cross")

        def custom(dtype):
            return MultiHeadAttention(E, H, batch_first=True, kernel="fast", dtype=dtype)

        def theirs(dtype):
            return nn.MultiheadAttention(E, H, batch_first=True, dtype=dtype)

        for name, cls in (("fast", custom), ("torch", theirs)):
            found = errors(cls, oracle, tensors, dtype, need_weights=need_weights, **options)
            for what, error in found.items():
                totals.setdefault(what, {"fast": 0.0, "torch": 0.0})[name] += error
    for what, error in totals.items():
        assert error["fast"] <= 1.1 * error["torch"], (what, error)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 1e-9])  # so little that it drops nothing
@pytest.mark.parametrize("length", [T, 263])  # below and above fast.FEW_KEYS
def test_fast_in_bfloat16_training(autocast, dropout, length):
    """The error's bound, and the dtype of the result, where `fast` computes in float32."""

    def build(cls, dtype, **options):
        module = cls(E, H, dropout=dropout, batch_first=True, dtype=dtype, **options)
        if autocast and dtype != torch.float64:
            module.forward = torch.autocast("cpu", torch.bfloat16)(module.forward)
        return module

    totals = {}
    dtype = torch.float32 if autocast else torch.bfloat16
    for seed in range(6):
        torch.manual_seed(seed)
        oracle = build(nn.MultiheadAttention, torch.float64)
        nn.init.normal_(oracle.in_proj_bias)
        oracle.to(torch.bfloat16).double()
        x = torch.randn(B, length, E).bfloat16()
        padding = torch.arange(length) >= torch.tensor([[length], [9], [1]])
        for name, options in (("torch", {}), ("fast", {"kernel": "fast"})):
            cls = MultiHeadAttention if options else nn.MultiheadAttention
            found = errors(
                functools.partial(build, cls, **options), oracle, [x], dtype,
                need_weights=False, key_padding_mask=padding,
            )  # fmt: skip
            for what, error in found.items():
                totals.setdefault(what, {"fast": 0.0, "torch": 0.0})[name] += error
    for what, error in totals.items():
        assert error["fast"] <= 1.1 * error["torch"], (what, error)
    module, x = build(MultiHeadAttention, dtype, kernel="fast"), x.to(dtype)
    assert module(x, x, x, need_weights=False)[0].dtype == torch.bfloat16


@pytest.fixture
def qkv():
    generator = torch.Generator().manual_seed(0)
    shapes = ((B, H, T, D), (B, H, S, D), (B, H, S, D))
    return [torch.randn(x, generator=generator, dtype=torch.float64) for x in shapes]


MASKS = {
    "none": None,
    "broadcast": torch.randn(B, 1, 1, S, generator=torch.Generator().manual_seed(1)).double(),
    "full": torch.randn(B, H, T, S, generator=torch.Generator().manual_seed(1)).double(),
    "per_query": torch.randn(1, 1, T, S, generator=torch.Generator().manual_seed(1)).double(),
}


@pytest.mark.parametrize("mask", [*MASKS, "causal"])
@pytest.mark.parametrize("rows", [1, 5, T - 1, T, 100])
def test_blocks_change_nothing(monkeypatch, qkv, mask, rows):
    """Outputs and gradients are those of the whole, whatever the block's size."""
    monkeypatch.setattr(blockwise, "BLOCK_SCORES", rows * B * H * S)
    leaves = [x.requires_grad_() for x in qkv]
    options = {"is_causal": mask == "causal", "dropout": 0.0}
    whole = math_attention(*leaves, MASKS.get(mask), need_weights=False, **options)[0]
    blocks = blockwise.blockwise_attention(*leaves, MASKS.get(mask), **options)
    torch.testing.assert_close(blocks, whole)
    for a, b in zip(
        torch.autograd.grad(blocks.square().sum(), leaves),
        torch.autograd.grad(whole.square().sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_blockwise_dropout_is_the_same_forward_and_backward(monkeypatch, qkv):
    """The gradient of v is the dropped weights' column sums: those of what the output shows."""
    monkeypatch.setattr(blockwise, "BLOCK_SCORES", 5 * B * H * S)
    q = qkv[0][..., :1].expand(-1, -1, -1, S) * torch.linspace(-0.3, 0.3, S)
    k = torch.eye(S).double().expand(B, H, S, S)
    v = torch.eye(S).double().expand(B, H, S, S).clone()  # the output is then the dropped weights
    v.requires_grad_()
    torch.manual_seed(0)
    dropped = blockwise.blockwise_attention(q, k, v, None, is_causal=False, dropout=0.4)
    (gradient,) = torch.autograd.grad(dropped.sum(), [v])
    torch.testing.assert_close(gradient[..., 0], dropped.detach().sum(2))
    weights = math_attention(q, k, v, None, is_causal=False, dropout=0.0, need_weights=True)[1]
    ratio = dropped / weights
    zero = ratio == 0
    assert torch.allclose(ratio[~zero], torch.tensor(1 / 0.6, dtype=torch.float64))
    assert abs(zero.double().mean() - 0.4) < 5 * (0.4 * 0.6 / zero.numel()) ** 0.5


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_fast_memory_is_linear_in_the_length(dropout):
    """What the backward pass keeps grows with T, not with T squared."""

    def kept(length):
        total = 0

        def pack(x):
            nonlocal total
            total += x.untyped_storage().nbytes() if x._base is None else 0
            return x

        attention = MultiHeadAttention(8, 2, dropout=dropout, batch_first=True, kernel="fast")
        x = torch.randn(1, length, 8)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            attention(x, x, x, need_weights=False)
        return total

    assert kept(4096) < 4.5 * kept(1024) + 4 * blockwise.BLOCK_SCORES


REFUSALS = [
    ("fused", {}, {"need_weights": True}, "kernel='fused' computes no attention weights"),
    ("flex", {}, {"need_weights": True}, "kernel='flex' computes no attention weights"),
    ("flex", {"dropout": 0.1}, {"need_weights": False}, "kernel='flex' has no attention dropout"),
    ("flex", {}, {"need_weights": False}, "gradients on cuda alone, got cpu"),
]
FLEX_IN_EVALUATION = [
    (torch.float64, {}, "takes float32, bfloat16 and float16, got torch.float64"),
    (torch.float32, {"attn_mask": torch.zeros(T, T, requires_grad=True)}, "a mask no gradient"),
]


@pytest.mark.parametrize(("kernel", "options", "call", "message"), REFUSALS)
def test_refusals_in_one_line(kernel, options, call, message):
    attention = MultiHeadAttention(E, H, kernel=kernel, **options)
    x = torch.randn(T, B, E)
    with pytest.raises(AttentionError, match=message) as error:
        attention(x, x, x, **call)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("dtype", "masks", "message"), FLEX_IN_EVALUATION)
def test_refusals_of_flex_where_no_gradient_is_wanted(dtype, masks, message):
    attention = MultiHeadAttention(E, H, kernel="flex", dtype=dtype).requires_grad_(False)
    x = torch.randn(T, B, E, dtype=dtype)
    with pytest.raises(AttentionError, match=message):
        attention(x, x, x, need_weights=False, **masks)
