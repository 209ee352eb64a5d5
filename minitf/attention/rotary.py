"""Rotary position embedding: positions enter as rotations of queries and keys."""

import torch
from jaxtyping import Float
from torch import Tensor


def rotate(x: Float[Tensor, "B H T D"], base: float, offset: int = 0) -> Float[Tensor, "B H T D"]:
    """Turn each pair of dimensions by an angle that grows with the position.

    At position m the pair i is turned by m·θ_i, θ_i = base^(-2i/D), so that the product of a query
    at m and a key at n depends on m - n alone (Su et al. 2021, RoFormer, equation 15). The pair is
    (i, i + D/2) here and (2i, 2i + 1) in the paper: the same up to the order of the projection's
    rows, and quicker.

    Args:
        x: queries or keys, D even.
        base: wavelengths grow from 2π positions to just below 2π·base; 10,000 in the paper.
        offset: the first position.
    """
    return _turn(x, *_turns(x, base, offset))


def rotate_both(
    q: Float[Tensor, "B H T D"], k: Float[Tensor, "B H S D"], base: float, offset: int = 0
) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H S D"]]:
    """`rotate` queries and keys, whose first position is the same."""
    if torch.compiler.is_compiling() or q.shape[2] != k.shape[2]:  # a graph is for any lengths
        return rotate(q, base, offset), rotate(k, base, offset)
    cos, sin = _turns(q, base, offset)  # in decoding they take longer than what follows
    return _turn(q, cos, sin), _turn(k, cos, sin)


def _turns(x: Tensor, base: float, offset: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of each position's and pair's angle, (T, D/2)."""
    T, D = x.shape[2:]
    # In float64 where there is one: bfloat16 cannot tell position 257 from 258, and the angle of
    # position 100,000 is wrong in float32's third digit.
    exact = torch.float64 if x.device.type in ("cpu", "cuda") else torch.float32
    theta = base ** (torch.arange(0, D, 2, device=x.device, dtype=exact) / -D)
    position = torch.arange(offset, offset + T, device=x.device, dtype=exact)
    angle = torch.outer(position, theta)
    return angle.cos().to(x.dtype), angle.sin().to(x.dtype)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
