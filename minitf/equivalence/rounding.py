"""What rounding does to a formula, measured: Monte Carlo arithmetic (Parker 1997).

Each value is moved by a random amount of up to one unit in the last place (ULP), each sum of
products by up to one ULP of the sum of its terms' magnitudes, forward and backward. What then
changes in the result is what rounding alone can do to the formula on these very inputs. A sum's
guaranteed bound is n times larger for n terms (Higham 2002, section 3.1), so this is a typical
error, not a worst case.
"""

from typing import Any

import torch
from torch import Tensor

ROUNDING_DRAWS = 2
"""How many random roundings of the oracle are compared with its truth."""


class Rounding:
    """The rounding of the truth: none beyond float64's own."""

    def __call__(self, x: Tensor) -> Tensor:
        """A value after rounding."""
        return x

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """`a @ b` after rounding; `b` has two dimensions, or as many as `a`."""
        return a @ b


EXACT = Rounding()


class RandomRounding(Rounding):
    """Moves values and gradients at random, by up to one ULP of `dtype`."""

    def __init__(self, dtype: torch.dtype, seed: int) -> None:
        self.eps = torch.finfo(dtype).eps
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, x: Tensor) -> Tensor:
        """A value moved by up to one ULP of itself."""
        return _RoundedValue.apply(x, self)  # type: ignore[no-any-return,no-untyped-call]

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """`a @ b` in float64, each element moved by up to one ULP of its sum of magnitudes."""
        return _RoundedProduct.apply(a, b, self)  # type: ignore[no-any-return,no-untyped-call]

    def noise(self, scale: Tensor) -> Tensor:
        """Uniform in ±eps·scale."""
        uniform = torch.rand(scale.shape, generator=self.generator, dtype=torch.float64)
        return self.eps * scale * (2 * uniform - 1).to(scale.device)

    def noisy_product(self, a: Tensor, b: Tensor) -> Tensor:
        """`product` without a gradient."""
        return a @ b + self.noise(a.abs() @ b.abs())


class _RoundedValue(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rounding: RandomRounding) -> Tensor:
        ctx.rounding = rounding
        return torch.where(x.isfinite(), x + rounding.noise(x), x).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        return (gradient + ctx.rounding.noise(gradient)).to(gradient.dtype), None


class _RoundedProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, rounding: RandomRounding) -> Tensor:
        ctx.rounding = rounding
        ctx.save_for_backward(a, b)
        return rounding.noisy_product(a, b)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        a, b = ctx.saved_tensors
        gradient_a = ctx.rounding.noisy_product(gradient, b.mT)
        if b.dim() == 2:  # shared by every row of a
            a, gradient = a.flatten(0, -2), gradient.flatten(0, -2)
        return gradient_a, ctx.rounding.noisy_product(a.mT, gradient), None
