"""The kernels: softmax(q kᵀ / √D + mask) v for every head, one file each.

A kernel is a function

    kernel(q, k, v, mask, *, is_causal, dropout, need_weights) -> (context, weights)

    q        (B, H, T, D)    queries; any strides
    k, v     (B, H, S, D)    keys and values
    mask     (b, h, t, S)    added to the scores, broadcast where b, h or t is 1; or None. No row
                             of it is -inf throughout
    is_causal                query i sees keys 0 to i; never together with a mask
    dropout                  probability of dropping a weight; 0 outside training
    need_weights             whether to return the weights

    context  (B, H, T, D)    one weighted sum of values per query
    weights  (B, H, T, S)    after dropout, as torch returns them; None unless need_weights

What a kernel cannot do it refuses with an AttentionError; none falls back to another silently.
"""

from collections.abc import Callable

from torch import Tensor

from minitf.attention.errors import AttentionError
from minitf.attention.kernels.fast import fast_attention
from minitf.attention.kernels.flex import flex_attention
from minitf.attention.kernels.fused import fused_attention
from minitf.attention.kernels.math import math_attention

Kernel = Callable[..., tuple[Tensor, Tensor | None]]

NAMES = ("auto", "math", "fused", "fast", "flex")
"""What `kernel=` takes."""

KERNELS: dict[str, Kernel] = {
    "math": math_attention,
    "fused": fused_attention,
    "fast": fast_attention,
    "flex": flex_attention,
}
"""Every kernel by its name."""

BIT_IDENTICAL = frozenset({"math", "fused"})
"""Kernels that compute in torch's own order: equal to torch.nn.MultiheadAttention to the last bit.

The others choose the layout that is quickest and agree within rounding.
"""


def may_be_slices(name: str, head_dim: int) -> bool:
    """Whether a kernel takes q, k and v as slices of a packed projection, or else as copies.

    A matrix product adds in an order that depends on how its factors lie in memory. For equality
    with torch to the last bit `math` needs copies, and `fused` where an odd D would leave every
    second head of a slice unaligned.
    """
    return name != "math" and (name != "fused" or head_dim % 2 == 0)


def check_kernel(name: str) -> None:
    """Refuse a name that is no kernel's.

    Raises:
        AttentionError: the name is not in NAMES.
    """
    if name not in NAMES:
        raise AttentionError(f"kernel must be one of {', '.join(NAMES)}, got {name!r}")
