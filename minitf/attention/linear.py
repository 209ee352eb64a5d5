"""Linear layers on a CPU, by the library that is the quicker there.

torch gives float32 products to MKL, which uses AVX-512 on its maker's CPUs alone. On an AMD EPYC
that has it MKL reaches 110 GFLOP/s a core where oneDNN, which torch brings along too, reaches 250.
"""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from minitf.attention.masks import is_transformed

FEWEST_PRODUCTS = 1 << 19
"""Multiplications below which oneDNN's start, some 10 µs, costs more than it saves."""


def linear(
    x: Float[Tensor, "*rows in"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None = None,
) -> Float[Tensor, "*rows out"]:
    """Compute x·weightᵀ + bias as `torch.nn.functional.linear` does, within rounding.

    It is that very function on accelerators, in other types than float32, under autocast, in
    compiled graphs, inside function transforms and dispatch modes, for few numbers, and where MKL
    is the quicker.
    """
    if torch.compiler.is_compiling() or not _takes_onednn(x, weight, bias):
        return F.linear(x, weight, bias)
    tensors = (x, weight) if bias is None else (x, weight, bias)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        result: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return result
    return multiply(x, weight, bias)


def _takes_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN is the quicker, and does the same as torch's function with these."""
    if weight.dim() != 2 or x.numel() * weight.shape[0] < FEWEST_PRODUCTS or not suits_onednn(x):
        return False
    if is_transformed(x) or torch._C._len_torch_dispatch_stack():
        return False
    out, width = weight.shape
    if width != x.shape[-1] or (bias is not None and bias.shape != (out,)):
        return False  # torch's function broadcasts, or says what is wrong
    return all(
        type(p) in (Tensor, nn.Parameter) and p.dtype == x.dtype and p.device == x.device
        for p in (weight, bias)
        if p is not None
    )


def suits_onednn(x: Tensor) -> bool:
    """Whether oneDNN is by far the quicker at products with x."""
    return mkl_leaves_avx512() and may_take_onednn(x)


def may_take_onednn(x: Tensor) -> bool:
    """Whether products with x are in float32 on a CPU, where oneDNN may do them instead of MKL."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and torch._C._has_mkldnn
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


@cache
def mkl_leaves_avx512() -> bool:
    """Whether the CPU has AVX-512, and MKL's products do without it."""
    has_mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    widest: str = torch.backends.cpu.get_cpu_capability()
    return has_mkl and widest == "AVX512" and not is_by_mkls_maker()


@cache
def is_by_mkls_maker() -> bool:
    """Whether torch has MKL, and the CPU is of its maker."""
    name = str(torch.cpu.get_capabilities().get("cpu_name", ""))
    has_mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    return has_mkl and name.startswith("Intel")


def multiply(
    x: Float[Tensor, "*rows in"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None = None,
) -> Float[Tensor, "*rows out"]:
    """Compute x·weightᵀ + bias by oneDNN, without gradients; either may be a transposed view."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


def multiply_transposed(x: Float[Tensor, "rows m"], y: Float[Tensor, "rows n"]) -> Tensor:
    """Compute xᵀ·y, (m, n), by oneDNN, without gradients; a view.

    It copies the transposed first factor, so the narrower one goes first.
    """
    if x.shape[1] <= y.shape[1]:
        return multiply(x.t(), y.t())
    return multiply(y.t(), x.t()).t()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        return multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad
        grad, rows = grads[0].flatten(0, -2), x.flatten(0, -2)
        grad_x = grad_weight = None
        if torch.is_grad_enabled():  # second derivatives are wanted, which autograd knows of these
            grad_x = grad @ weight if wants_x else None
            grad_weight = grad.t() @ rows if wants_weight else None
        else:
            grad_x = multiply(grad, weight.t()) if wants_x else None
            grad_weight = multiply_transposed(grad, rows) if wants_weight else None
        return (
            None if grad_x is None else grad_x.view_as(x),
            grad_weight,
            grad.sum(0) if wants_bias else None,
        )
