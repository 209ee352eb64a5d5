"""What stands between the two projections of a feed-forward network.

A layer computes `linear2(dropout(activation(linear1(x))))`. With F = feedforward_dim and
E = embed_dim, ReLU and GELU have 2·E·F weights. SwiGLU's `linear1` is twice as wide and holds the
gate and the value, which makes 3·E·F weights: set F to two thirds for the same number
(Shazeer 2020, "GLU Variants Improve Transformer").
"""

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def swiglu(x: Float[Tensor, "... two_F"]) -> Float[Tensor, "... F"]:
    """SiLU(gate) · value, where x = [gate | value] (Shazeer 2020, equation 6)."""
    gate, value = x.chunk(2, dim=-1)
    return F.silu(gate) * value


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "swiglu": swiglu,
}


def projections(
    embed_dim: int, feedforward_dim: int, activation: str
) -> tuple[nn.Linear, nn.Linear]:
    """`linear1` and `linear2`, named as torch's own layers name them."""
    width = 2 * feedforward_dim if activation == "swiglu" else feedforward_dim
    return nn.Linear(embed_dim, width), nn.Linear(feedforward_dim, embed_dim)
