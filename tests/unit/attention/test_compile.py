"""torch.compile without graph breaks, torch.export with dynamic sizes; without the shape checks."""

import itertools
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from minitf.attention import KeyValueCache, MultiHeadAttention

B, T, E, H = 3, 7, 24, 4
inside = os.environ.get("MINITF_TYPECHECK") == "0"
only_inside = pytest.mark.skipif(not inside, reason="runs in the process that test_all starts")
PADDING = torch.arange(T) >= torch.tensor([[T], [4], [0]])
CAUSAL = torch.ones(T, T, dtype=torch.bool).triu(1)
MASKS = {
    "none": {},
    "padding": {"key_padding_mask": PADDING},
    "causal": {"is_causal": True},
    "hint": {"attn_mask": CAUSAL, "is_causal": True},
    "both": {"attn_mask": CAUSAL, "key_padding_mask": PADDING},
}
PATHS = [("math", True), ("fused", False), ("fast", True), ("fast", False), ("auto", False)]
QUICK = [("math", True, "both"), ("fused", False, "hint"), ("fast", False, "padding")]

EXPORTS = [
    pytest.param(*choice, marks=[] if choice == ("auto", False, True) else pytest.mark.slow)
    for choice in itertools.product(("auto", "fast"), (True, False), (True, False))
]


@pytest.mark.skipif(inside, reason="this is the process")
@pytest.mark.parametrize("which", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_all(which):
    """Start this file where shapes are not checked: torch.compile cannot trace the check."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", which]
    done = subprocess.run(
        [*command, __file__],
        env=os.environ | {"MINITF_TYPECHECK": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


@only_inside
@pytest.mark.parametrize(
    ("kernel", "need_weights", "masks"),
    [
        pytest.param(*path, masks, marks=[] if (*path, masks) in QUICK else pytest.mark.slow)
        for path in PATHS
        for masks in MASKS
    ],
)
def test_one_graph(kernel, need_weights, masks):
    torch._dynamo.reset()
    torch.manual_seed(0)
    attention = MultiHeadAttention(E, H, batch_first=True, kernel=kernel, rotary_base=1e4)
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
    x = torch.randn(B, T, E, requires_grad=True)
    results = []
    for module in (attention, compiled):
        output, weights = module(x, x, x, need_weights=need_weights, **MASKS[masks])
        loss = output.square().sum() + (0 if weights is None else weights.square().sum())
        results.append([output, *torch.autograd.grad(loss, [x, *attention.parameters()])])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@only_inside
@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["math", "fused", "fast"])
def test_dropout_in_one_graph(kernel):
    torch._dynamo.reset()
    attention = MultiHeadAttention(E, H, dropout=0.5, kernel=kernel)
    compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
    x = torch.randn(T, B, E)
    output, _ = compiled(x, x, x, need_weights=False)
    output.sum().backward()
    assert not torch.allclose(output, compiled(x, x, x, need_weights=False)[0])


@only_inside
@torch.no_grad()
def test_evaluation_lies_in_memory_as_torchs_eager_one_does():
    """Compiled or not: what follows may view it. (torch's own compiled one does from 2.13 on.)"""
    torch._dynamo.reset()
    x = torch.randn(B, T, E)
    theirs, ours = (
        module(E, H, batch_first=True).eval()
        for module in (nn.MultiheadAttention, MultiHeadAttention)
    )
    found = [m(x, x, x)[0].stride() for m in (theirs, ours, torch.compile(ours, backend="eager"))]
    assert found == 3 * [(T * E, E, 1)]


@only_inside
def test_cached_step_in_one_graph():
    torch._dynamo.reset()
    attention = MultiHeadAttention(E, H, batch_first=True).eval()
    memory, step = torch.randn(B, T, E), torch.randn(B, 1, E)
    with torch.no_grad():
        cache = KeyValueCache(static=True)
        expected, _ = attention(step, memory, memory, need_weights=False, cache=cache)
        compiled = torch.compile(attention, fullgraph=True, backend="aot_eager")
        output, _ = compiled(step, None, None, need_weights=False, cache=cache)
    torch.testing.assert_close(output, expected)


@only_inside
@torch.no_grad()
def test_a_growing_cache_in_one_graph():
    torch._dynamo.reset()
    attention, x = MultiHeadAttention(E, H, batch_first=True).eval(), torch.randn(B, T, E)
    expected, _ = attention(x, x, x, is_causal=True)
    compiled = torch.compile(attention, fullgraph=True, backend="eager")
    cache, steps = KeyValueCache(), []
    for step in x.split(1, dim=1):
        steps.append(compiled(step, step, step, is_causal=True, cache=cache)[0])
    assert cache.length == T
    torch.testing.assert_close(torch.cat(steps, 1), expected)


@only_inside
@pytest.mark.parametrize(("kernel", "need_weights", "masked"), EXPORTS)
def test_export(kernel, need_weights, masked):
    class Self(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = MultiHeadAttention(E, H, batch_first=True, kernel=kernel)

        def forward(self, x, padding):
            return self.attention(
                x, x, x, key_padding_mask=padding if masked else None, need_weights=need_weights
            )[0]

    torch.manual_seed(0)
    model = Self().eval()
    sizes = {0: torch.export.Dim("B", min=2, max=64), 1: torch.export.Dim("T", min=2, max=128)}
    exported = torch.export.export(
        model, (torch.randn(B, T, E), PADDING), dynamic_shapes={"x": sizes, "padding": sizes}
    )
    x, padding = torch.randn(5, 11, E), torch.arange(11) >= torch.tensor([[1], [11], [3], [7], [0]])
    torch.testing.assert_close(exported.module()(x, padding), model(x, padding))
    # onnxruntime has no Where over bools: a mask is additive before rows that see no key are freed.
    filled = [node for node in exported.graph.nodes if "masked_fill" in str(node.target)]
    assert all(node.meta["val"].dtype == torch.float32 for node in filled)
    assert bool(filled) == masked


@only_inside
def test_an_export_in_evaluation_is_for_long_inputs_too():
    """Though a call of so many tokens takes another kernel than a shorter one."""

    class Self(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = MultiHeadAttention(E, H, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    torch.manual_seed(0)
    model = Self().eval()
    sizes = {0: torch.export.Dim("B"), 1: torch.export.Dim("T")}
    with torch.no_grad():
        exported = torch.export.export(model, (torch.randn(B, T, E),), dynamic_shapes=(sizes,))
        x = torch.randn(2, 1031, E)
        torch.testing.assert_close(exported.module()(x), model(x))


@only_inside
@pytest.mark.parametrize(("kernel", "rotary_base"), [("fast", None), ("fused", 1e4)])
def test_an_export_is_for_any_lengths(kernel, rotary_base):
    """Of few and of many queries, with as many keys or not."""

    class Cross(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = MultiHeadAttention(
                E, H, batch_first=True, kernel=kernel, rotary_base=rotary_base
            )

        def forward(self, x, y):
            return self.attention(x, y, y, need_weights=False)[0]

    torch.manual_seed(0)
    model = Cross().eval()
    lengths = [{1: torch.export.Dim(name, min=2, max=128)} for name in ("T", "S")]
    with torch.no_grad():
        exported = torch.export.export(
            model, (torch.randn(B, T, E), torch.randn(B, 9, E)), dynamic_shapes=lengths
        ).module()
        for t, s in ((T, 9), (31, 9), (11, 11), (17, 2)):
            x, y = torch.randn(B, t, E), torch.randn(B, s, E)
            torch.testing.assert_close(exported(x, y), model(x, y))


@only_inside
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize(
    "masks",
    [
        pytest.param(kind, marks=[] if kind == "causal" else pytest.mark.slow)
        for kind in ("none", "causal", "padding", "float")
    ],
)
def test_flex_on_a_cpu_is_as_exact_as_torch(masks):
    """Error against float64 at most 1.1 times that of torch's module, over eight inputs."""
    torch._dynamo.reset()
    B, T, E, H = 3, 37, 48, 4
    options = {
        "none": {},
        "causal": {"attn_mask": torch.ones(T, T, dtype=torch.bool).triu(1), "is_causal": True},
        "padding": {"key_padding_mask": torch.arange(T) >= torch.tensor([[T], [9], [1]])},
        "float": {"attn_mask": torch.randn(T, T, generator=torch.Generator().manual_seed(2))},
    }[masks]
    exact = {
        k: m.double() if k == "attn_mask" and masks == "float" else m for k, m in options.items()
    }
    ours = theirs = 0.0
    for seed in range(8):
        torch.manual_seed(seed)
        reference = nn.MultiheadAttention(E, H, batch_first=True)
        flex = MultiHeadAttention(E, H, batch_first=True, kernel="flex")
        flex.load_state_dict(reference.state_dict())
        oracle = MultiHeadAttention(E, H, batch_first=True, kernel="math", dtype=torch.float64)
        oracle.load_state_dict(reference.state_dict())
        x = torch.randn(B, T, E)
        with torch.no_grad():
            truth, _ = oracle(x.double(), x.double(), x.double(), need_weights=False, **exact)
            found, _ = flex(x, x, x, need_weights=False, **options)
            expected, _ = reference(x, x, x, need_weights=False, **options)
        ours += (found - truth).abs().mean().item()
        theirs += (expected - truth).abs().mean().item()
    assert 0 < ours <= 1.1 * theirs
