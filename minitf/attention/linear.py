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
from torch.nn.modules.module import _has_any_global_hook

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
    compiled graphs, inside function transforms and torch's modes, for few numbers, and where MKL is
    the quicker. For each new number of rows oneDNN builds up to three kernels, in some 0.4 ms and
    0.7 MB each, of which it keeps `ONEDNN_PRIMITIVE_CACHE_CAPACITY`, and torch's part of it
    `LRU_CACHE_CAPACITY` (`minitf.config.onednn`).
    """
    if not _takes_onednn(x, weight, bias):
        return F.linear(x, weight, bias)
    tensors = (x, weight) if bias is None else (x, weight, bias)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        result: Tensor = _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return result
    return multiply(x, weight, bias)


def apply_linear(layer: nn.Module, x: Float[Tensor, "*rows in"]) -> Float[Tensor, "*rows out"]:
    """`linear` with a layer's parameters; a layer that is more than its product is called."""
    here = not torch.compiler.is_compiling() and mkl_leaves_avx512()
    if here and isinstance(layer, nn.Linear) and is_plain(layer):
        return linear(x, layer.weight, layer.bias)
    output: Tensor = layer(x)
    return output


def is_plain(layer: nn.Linear) -> bool:
    """Whether calling a linear layer is nothing but its matrix product."""
    if layer._forward_hooks or layer._forward_pre_hooks:
        return False
    if layer._backward_hooks or layer._backward_pre_hooks:
        return False
    if layer._compiled_call_impl is not None or _has_any_global_hook():  # type: ignore[no-untyped-call]
        return False
    kind = type(layer)
    if kind.forward is not nn.Linear.forward or kind.__call__ is not nn.Module.__call__:
        return False
    return "forward" not in layer.__dict__


def _takes_onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN is the quicker, and does the same as torch's function with these."""
    if torch.compiler.is_compiling() or not mkl_leaves_avx512():
        return False
    tensors = (x, weight) if bias is None else (x, weight, bias)
    if any(type(tensor) not in (Tensor, nn.Parameter) or tensor.is_nested for tensor in tensors):
        return False
    if x.dim() < 2 or weight.dim() != 2 or x.numel() * weight.shape[0] < FEWEST_PRODUCTS:
        return False
    if not all(may_take_onednn(tensor) for tensor in tensors) or _is_watched(x):
        return False
    out, width = weight.shape  # torch's function broadcasts a bias, or says what is wrong
    return width == x.shape[-1] and (bias is None or bias.shape == (out,))


def _is_watched(x: Tensor) -> bool:
    """Whether a transform or a mode of torch's is at work, which knows torch's own functions."""
    in_mode = torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack()
    return bool(in_mode) or is_transformed(x)


def suits_onednn(x: Tensor) -> bool:
    """Whether oneDNN is by far the quicker at products with x."""
    return may_take_onednn(x) and mkl_leaves_avx512()


def may_take_onednn(x: Tensor) -> bool:
    """Whether x is in float32 on a CPU, where oneDNN may multiply instead of MKL."""
    return (
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.layout is torch.strided
        and torch._C._has_mkldnn
        and torch._C._get_mkldnn_enabled()
        and not torch.is_autocast_enabled("cpu")
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
    """Compute x·weightᵀ + bias by oneDNN, without gradients; the weight may be packed."""
    if not weight.is_mkldnn:
        weight = _simply_laid(weight)
    bias = None if bias is None else bias.contiguous()  # its strides are not looked at
    result: Tensor = torch.ops.mkldnn._linear_pointwise(
        _simply_laid(x), weight, bias, "none", [], ""
    )
    return result


def multiply_transposed(x: Float[Tensor, "rows m"], y: Float[Tensor, "rows n"]) -> Tensor:
    """Compute xᵀ·y, (m, n), by oneDNN, without gradients; maybe a transposed view.

    It copies the transposed first factor, so the narrower one goes first.
    """
    if x.shape[1] <= y.shape[1]:
        return multiply(x.t(), y.t())
    return multiply(y.t(), x.t()).t()


def _simply_laid(x: Tensor) -> Tensor:
    """Lay x out by rows or by columns: oneDNN refuses what overlaps itself."""
    return x if x.is_contiguous() or (x.dim() == 2 and x.t().is_contiguous()) else x.contiguous()


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        wants_x, wants_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if wants_weight else None, weight if wants_x else None)
        return multiply(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        grad = grads[0]
        rows = grad.reshape(-1, grad.shape[-1])
        # Second derivatives are wanted, or many at once: torch knows both of its own functions.
        torchs = torch.is_grad_enabled() or _is_watched(grad)
        by_x = by_weight = None
        if weight is not None:
            by_x = rows @ weight if torchs else multiply(rows, weight.t())
            by_x = by_x.reshape(*grad.shape[:-1], weight.shape[1])
        if x is not None:
            x = x.reshape(-1, x.shape[-1])
            by_weight = rows.t() @ x if torchs else multiply_transposed(rows, x).contiguous()
        return by_x, by_weight, rows.sum(0) if ctx.needs_input_grad[2] else None
