"""Distance between floating-point tensors, in units in the last place (ULP).

A ULP is the gap between two neighbouring numbers of a type. Read as integers, the bits of floats of
one sign are in order, so the number of representable values between two of them is a subtraction
(Goldberg 1991, "What every computer scientist should know about floating-point arithmetic").
"""

import torch
from torch import Tensor

_INTEGER_OF_WIDTH = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(x: Tensor) -> Tensor:
    """The bit pattern of each element, as a signed integer of the same width."""
    return x.detach().contiguous().view(_INTEGER_OF_WIDTH[x.element_size()])


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors agree in every bit; any NaN equals any NaN, and -0 differs from +0."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(((bits(a) == bits(b)) | (a.isnan() & b.isnan())).all())


def ulp_distance(a: Tensor, b: Tensor) -> Tensor:
    """How many representable numbers lie from `a` to `b`, element by element.

    Args:
        a: any shape, a floating-point type.
        b: the same shape and type.

    Returns:
        Distances as float64: exact below 2**53; 0 where both are NaN, inf where only one is.

    Example:
        >>> one = torch.tensor([1.0, 1.0, 0.0])
        >>> ulp_distance(one, torch.tensor([1.0 + 2**-23, 1.0 - 2**-24, -0.0])).tolist()
        [1.0, 1.0, 0.0]
    """
    integer = _INTEGER_OF_WIDTH[a.element_size()]
    size_mask = torch.iinfo(integer).max
    bits_a, bits_b = bits(a), bits(b)
    size_a, size_b = (bits_a & size_mask).long(), (bits_b & size_mask).long()
    same_sign = (bits_a < 0) == (bits_b < 0)
    # Across zero the sizes add up; as float64, because int64 could overflow.
    distance = torch.where(
        same_sign, (size_a - size_b).abs().double(), size_a.double() + size_b.double()
    )
    nan_a, nan_b = a.isnan(), b.isnan()
    distance = torch.where(nan_a ^ nan_b, torch.inf, distance)
    return torch.where(nan_a & nan_b, 0.0, distance)


def ulp_size(magnitude: float, dtype: torch.dtype) -> float:
    """The gap between `magnitude` and the next larger number of `dtype`."""
    info = torch.finfo(dtype)
    if magnitude < info.smallest_normal:
        return info.smallest_normal * info.eps
    exponent = torch.frexp(torch.tensor(magnitude, dtype=torch.float64)).exponent.item()
    return float(info.eps * 2.0 ** (exponent - 1))


def perturb(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each element moved to one of its two neighbours in `x.dtype`, by the toss of a coin."""
    up = torch.rand(x.shape, generator=generator, device=generator.device) < 0.5
    target = torch.where(up.to(x.device), torch.inf, -torch.inf).to(x.dtype)
    # nextafter has no half-precision kernels: there the step is taken on the bits.
    if x.element_size() == 2:
        step = torch.where(up.to(x.device) == (x > 0), 1, -1).to(torch.int16)
        step = torch.where(x == 0, torch.zeros_like(step), step)
        return (bits(x) + step).view(x.dtype)
    return torch.nextafter(x.detach(), target)
