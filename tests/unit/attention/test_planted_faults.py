"""Faults planted one at a time; the quick check of test_bit_identity must notice each.

torch's own test file for its module misses five of them (marked so), and all that change bits or
strides alone.
"""

import math
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import minitf.attention.kernels.math as math_kernel
from minitf.attention import MultiHeadAttention, masks, module
from minitf.attention.kernels import KERNELS

FAULTS = {}


def fault(description):
    """Register a function that plants a fault and returns the faulty class, if it is a new one."""

    def register(plant):
        FAULTS[description] = plant
        return plant

    return register


def change(monkeypatch, where, name, make):
    """Replace a function by what `make` makes of it."""
    monkeypatch.setattr(where, name, make(getattr(where, name)))


def change_kernels(monkeypatch, make, names=("math", "fused")):
    for name in names:
        monkeypatch.setitem(KERNELS, name, make(KERNELS[name]))


def plain(*, scale=None, scores_dtype=None, dim=-1, drop=F.dropout, return_dropped=True):
    """A kernel by the book, with something to get wrong in each step."""

    def kernel(q, k, v, mask, *, is_causal, dropout, need_weights):
        B, H, T, D = q.shape
        S = k.shape[2]
        if is_causal:
            mask = masks.additive(masks.causal_mask(T, S, q.device), q.dtype)[None, None]
        q, k, v = (x.reshape(B * H, -1, D) for x in (q, k, v))
        q = q * (math.sqrt(1 / D) if scale is None else scale(D))
        if mask is None:
            scores = q @ k.mT
        else:
            scores = torch.baddbmm(mask.expand(B, H, T, S).reshape(B * H, T, S), q, k.mT)
        kept = F.softmax(scores, dim, dtype=scores_dtype).to(v.dtype)
        weights = drop(kept, dropout) if dropout else kept
        returned = weights if return_dropped else kept
        return (weights @ v).view(B, H, T, D), returned.view(B, H, T, S) if need_weights else None

    return kernel


@fault("dropout is never applied (missed by torch's tests)")
def _(monkeypatch):
    change_kernels(monkeypatch, lambda f: lambda *a, **k: f(*a, **(k | {"dropout": 0.0})))


@fault("keys and values are swapped in cross-attention (missed by torch's tests)")
def _(monkeypatch):
    def make(f):
        def swapped(query, key, *rest):
            q, k, v = f(query, key, *rest)
            return (q, k, v) if query is key else (q, v, k)

        return swapped

    change(monkeypatch, module, "project_inputs", make)


@fault("add_zero_attn appends ones (missed by torch's tests)")
def _(monkeypatch):
    def ones(x):
        return torch.cat([x, torch.ones_like(x[:, :, :1])], dim=2)

    monkeypatch.setattr(module, "append_zero_key", ones)


@fault("bias_k stands in for bias_v (missed by torch's tests)")
def _(monkeypatch):
    rows = []

    def make(f):
        def append(x, row):
            rows.append(row)
            return f(x, rows[-1 if len(rows) % 2 else -2])

        return append

    change(monkeypatch, module, "append_learned_key", make)


@fault("weights are summed over the heads, not averaged (missed by torch's tests)")
def _(monkeypatch):
    class Summed(MultiHeadAttention):
        def forward(self, *args, average_attn_weights=True, **kwargs):
            output, weights = super().forward(*args, average_attn_weights=False, **kwargs)
            if weights is not None and average_attn_weights:
                weights = weights.sum(-3)
            return output, weights

    return Summed


@fault("strides only: the output is made contiguous")
def _(monkeypatch):
    class Contiguous(MultiHeadAttention):
        def forward(self, *args, **kwargs):
            output, weights = super().forward(*args, **kwargs)
            return output.contiguous(), weights

    return Contiguous


@fault("bits only: products are batch-first")
def _(monkeypatch):
    monkeypatch.setattr(module, "BIT_IDENTICAL", frozenset())


@fault("bits only: three projections instead of one")
def _(monkeypatch):
    def make(f):
        return lambda q, k, v, *rest: f(q, k.view_as(k), v.view_as(v), *rest)

    change(monkeypatch, module, "project_inputs", make)


@fault("bits only: the scale is 1 / sqrt(D), rounded otherwise than sqrt(1 / D)")
def _(monkeypatch):
    monkeypatch.setitem(KERNELS, "math", plain(scale=lambda D: math.nextafter(D**-0.5, 1.0)))
    return torch.float64


@fault("bits only: softmax of bfloat16 in float32")
def _(monkeypatch):
    monkeypatch.setitem(KERNELS, "math", plain(scores_dtype=torch.float32))
    return torch.bfloat16


@fault("scale 1 / D")
def _(monkeypatch):
    monkeypatch.setitem(KERNELS, "math", plain(scale=lambda D: 1 / D))


@fault("no scale in the fused kernel")
def _(monkeypatch):
    change_kernels(monkeypatch, lambda f: lambda q, *a, **k: f(q * q.shape[-1] ** 0.5, *a, **k),
                   names=["fused"])  # fmt: skip


@fault("softmax over the queries")
def _(monkeypatch):
    monkeypatch.setitem(KERNELS, "math", plain(dim=-2))


@fault("dropout does not scale up what it keeps")
def _(monkeypatch):
    monkeypatch.setitem(KERNELS, "math", plain(drop=lambda w, p: F.dropout(w, p) * (1 - p)))


@fault("weights are returned as before dropout")
def _(monkeypatch):
    monkeypatch.setitem(KERNELS, "math", plain(return_dropped=False))


@fault("dropout in evaluation mode")
def _(monkeypatch):
    class Always(MultiHeadAttention):
        def forward(self, *args, **kwargs):
            self.training = True
            return super().forward(*args, **kwargs)

    return Always


@fault("random state only: one number too many is drawn")
def _(monkeypatch):
    def make(f):
        def drawn(*args, **kwargs):
            result = f(*args, **kwargs)
            torch.rand(1)
            return result

        return drawn

    change_kernels(monkeypatch, make)


@fault("True in a mask means attend")
def _(monkeypatch):
    change(monkeypatch, masks, "additive",
           lambda f: lambda m, *rest: f(~m if m.dtype == torch.bool else m, *rest))  # fmt: skip


@fault("attn_mask is lost beside key_padding_mask")
def _(monkeypatch):
    def make(f):
        def build(attn_mask, key_padding_mask, **kwargs):
            return f(
                None if key_padding_mask is not None else attn_mask, key_padding_mask, **kwargs
            )

        return build

    change(monkeypatch, module, "build_mask", make)


@fault("key_padding_mask reaches the first head only")
def _(monkeypatch):
    def make(f):
        def first_head(mask, shape, query):
            mask = f(mask, shape, query).repeat(1, shape[1], 1, 1)
            mask[:, 1:] = 0
            return mask

        return first_head

    change(monkeypatch, masks, "padding_mask_4d", make)


@fault("a mask's batch and heads are mixed up")
def _(monkeypatch):
    def make(f):
        def mixed(mask, shape, query):
            B, H, T, S = shape
            if mask.dim() == 3:
                mask = mask.view(H, B, T, S).transpose(0, 1).reshape(B * H, T, S)
            return f(mask, shape, query)

        return mixed

    change(monkeypatch, masks, "attn_mask_4d", make)


@fault("float masks are added twice")
def _(monkeypatch):
    change(monkeypatch, masks, "additive", lambda f: lambda *a: 2 * f(*a))


@fault("the causal mask lets a query see the next key")
def _(monkeypatch):
    change(monkeypatch, math_kernel, "causal_mask",
           lambda f: lambda T, S, device: f(T, S, device, 1))  # fmt: skip


@fault("masks hide the extra keys")
def _(monkeypatch):
    pad = F.pad

    def hide(x, by):
        return pad(x, by, value=True if x.dtype == torch.bool else -1e30)

    monkeypatch.setattr(masks, "F", SimpleNamespace(pad=hide))


@fault("heads are concatenated in reverse")
def _(monkeypatch):
    change(monkeypatch, module, "merge_heads", lambda f: lambda c, *a: f(c.flip(1), *a))


@fault("the keys get the queries' bias")
def _(monkeypatch):
    def make(f):
        def biased(query, key, value, weight, bias, heads):
            if bias is not None:
                E = query.shape[-1]
                bias = torch.cat([bias[:E], bias[:E], bias[2 * E :]])
            return f(query, key, value, weight, bias, heads)

        return biased

    change(monkeypatch, module, "project_inputs", make)


@fault("the output projection has no bias")
def _(monkeypatch):
    class NoBias(MultiHeadAttention):
        def forward(self, *args, **kwargs):
            output, weights = super().forward(*args, **kwargs)
            return output if self.out_proj.bias is None else output - self.out_proj.bias, weights

    return NoBias


@fault("no gradient reaches the values")
def _(monkeypatch):
    def make(f):
        def detached(*args):
            q, k, v = f(*args)
            return q, k, v.detach()

        return detached

    change(monkeypatch, module, "project_inputs", make)
    change(monkeypatch, module, "project_separately", make)


@fault("no gradient flows through the returned weights")
def _(monkeypatch):
    class Detached(MultiHeadAttention):
        def forward(self, *args, **kwargs):
            output, weights = super().forward(*args, **kwargs)
            return output, None if weights is None else weights.detach().requires_grad_()

    return Detached


@fault("the packed projection is initialised as three square ones")
def _(monkeypatch):
    class Square(MultiHeadAttention):
        def _reset_parameters(self):
            super()._reset_parameters()
            if self.in_proj_weight is not None:
                for part in self.in_proj_weight.data.chunk(3):
                    nn.init.xavier_uniform_(part)

    return Square


@fault("unbatched weights keep a batch axis")
def _(monkeypatch):
    class Axis(MultiHeadAttention):
        def forward(self, query, *args, **kwargs):
            output, weights = super().forward(query, *args, **kwargs)
            return output, weights[None] if weights is not None and query.dim() == 2 else weights

    return Axis


@pytest.mark.parametrize("description", FAULTS)
def test_is_caught(grid, monkeypatch, description):
    planted = FAULTS[description](monkeypatch)
    dtype = planted if isinstance(planted, torch.dtype) else torch.float32
    cls = planted if isinstance(planted, type) else MultiHeadAttention
    assert next(grid.differences(cls, grid.sample(300, seed=1), dtype), None) is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_stand_in_without_a_fault_is_not(grid, monkeypatch, dtype):
    """Else what is planted in it would be caught whatever it is."""
    monkeypatch.setitem(KERNELS, "math", plain())
    assert list(grid.differences(MultiHeadAttention, grid.sample(300, seed=1), dtype)) == []


def test_table_is_long_enough():
    assert len(FAULTS) >= 20
