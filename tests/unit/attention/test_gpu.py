"""The grid and the kernels on a CUDA device."""

import pytest
import torch
from torch import nn

from minitf.attention import MultiHeadAttention

pytestmark = pytest.mark.gpu
B, H, T, S, D = 3, 4, 67, 131, 32
E = H * D
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@pytest.mark.parametrize("dtype", [*DTYPES, "float64"])
@pytest.mark.parametrize("sizes", ["SMALL", "LARGE"])
def test_bit_identity(grid, dtype, sizes):
    cases = grid.sample(500, seed=1, sizes=getattr(grid, sizes))
    cases = [case for case in cases if case.mode != "inference"]
    torch.use_deterministic_algorithms(True)  # with warn_only attention would not be
    try:
        found = list(
            grid.differences(MultiHeadAttention, cases, getattr(torch, dtype), device="cuda")
        )
    finally:
        torch.use_deterministic_algorithms(False)
    assert found == [], f"{len(found)} of {len(cases)} cases differ"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", ["math", "fused", "fast", "flex"])
@pytest.mark.parametrize("masks", ["none", "causal", "padding", "float", "blind"])
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_kernels_are_as_exact_as_torch(kernel, dtype, masks):
    """Error against float64 at most 1.1 times that of torch's module, output and gradients."""
    dtype = DTYPES[dtype]
    generator = torch.Generator("cuda").manual_seed(1)
    options = {
        "none": {},
        "causal": {"attn_mask": torch.ones(T, T, dtype=torch.bool).triu(1), "is_causal": True},
        "padding": {"key_padding_mask": torch.arange(T) >= torch.tensor([[T], [9], [1]])},
        "float": {"attn_mask": torch.randn(T, T, generator=generator, device="cuda")},
        "blind": {"key_padding_mask": torch.arange(T) >= torch.tensor([[T], [9], [0]])},
    }[masks]
    options = {k: v if isinstance(v, bool) else v.cuda() for k, v in options.items()}
    totals = {}
    for seed in range(8):
        torch.manual_seed(seed)
        oracle = MultiHeadAttention(
            E, H, batch_first=True, dtype=torch.float64, device="cuda", kernel="math"
        )
        nn.init.normal_(oracle.in_proj_bias)
        oracle.to(dtype).to(torch.float64)
        x = torch.randn(B, T, E, device="cuda", dtype=dtype)
        slope = torch.randn(B, T, E, device="cuda", dtype=dtype)

        def run(cls, dtype, oracle=oracle, x=x, slope=slope, **more):
            module = cls(E, H, batch_first=True, dtype=dtype, device="cuda", **more)
            module.load_state_dict(oracle.state_dict())
            leaf = x.to(dtype).clone().requires_grad_()
            masks = {
                k: m.to(dtype) if k != "is_causal" and m.is_floating_point() else m
                for k, m in options.items()
            }
            output, _ = module(leaf, leaf, leaf, need_weights=False, **masks)
            seen = output.detach().isfinite()
            output.backward(slope.to(dtype))
            found = {"output": output, "grad of input": leaf.grad}
            found |= {f"grad of {n}": p.grad for n, p in module.named_parameters()}
            return {k: v.double() for k, v in found.items()}, seen

        truth, _ = run(MultiHeadAttention, torch.float64, kernel="math")
        ours, finite = run(MultiHeadAttention, dtype, kernel=kernel)
        assert finite.all()
        reference = nn.MultiheadAttention if masks != "blind" else MultiHeadAttention
        theirs, _ = run(reference, dtype)
        for name in truth:
            error = totals.setdefault(name, [0.0, 0.0])
            error[0] += (ours[name] - truth[name]).abs().mean().item()
            error[1] += (theirs[name] - truth[name]).abs().mean().item()
    for name, (ours, theirs) in totals.items():
        assert ours <= 1.1 * theirs, (name, ours, theirs)


@pytest.mark.parametrize("kernel", ["math", "fused", "fast", "flex"])
@pytest.mark.filterwarnings("ignore")
def test_rows_that_see_no_key_give_zeros(kernel):
    attention = MultiHeadAttention(E, H, batch_first=True, device="cuda", kernel=kernel)
    nn.init.normal_(attention.out_proj.bias)
    x = torch.randn(B, T, E, device="cuda", requires_grad=True)
    padding = torch.zeros(B, T, dtype=torch.bool, device="cuda")
    padding[1] = True
    output, _ = attention(x, x, x, padding, need_weights=False)
    output.sum().backward()
    assert (output[1] == 0).all()
    assert (x.grad[1] == 0).all()
    assert all(p.grad.isfinite().all() for p in attention.parameters())


def test_memory_is_linear_without_weights():
    def peak(length, kernel):
        attention = MultiHeadAttention(512, 8, batch_first=True, device="cuda", kernel=kernel)
        x = torch.randn(1, length, 512, device="cuda", requires_grad=True)
        attention(x, x, x, need_weights=False)[0].sum().backward()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        attention(x, x, x, need_weights=False)[0].sum().backward()
        return torch.cuda.max_memory_allocated() - before

    for kernel in ("fused", "fast"):
        assert peak(8192, kernel) < 5 * peak(2048, kernel)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
def test_causal_hint_waits_for_the_device_once():
    attention = MultiHeadAttention(E, H, batch_first=True, device="cuda")
    x = torch.randn(B, T, E, device="cuda")
    mask = torch.ones(T, T, dtype=torch.bool, device="cuda").triu(1)
    attention(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)
    torch.cuda.set_sync_debug_mode("error")
    try:
        attention(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)
        attention(x, x, x, key_padding_mask=mask[:B], need_weights=False)
    finally:
        torch.cuda.set_sync_debug_mode("default")
