"""Float32 products on a CPU by oneDNN, with a weight that is packed once for many of them.

It is for CPUs of another maker than MKL's, whatever `minitf.attention.linear` takes there: at a
vocabulary of 10,000 and E = 128 the slower of two AMD EPYCs reaches 78 to 86 GFLOP/s a core by MKL,
and 101 to 107 by oneDNN with a packed weight. On a CPU of MKL's own maker that is so for few rows
only: an Intel Xeon needs 0.23 ms, not 0.38, with 5, but with 450 MKL reaches 194 GFLOP/s, and
oneDNN 158. Packing such a weight takes 1.1 ms.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from minitf.attention.linear import is_by_mkls_maker, may_take_onednn, multiply

MOST_ROWS = 100
"""Of a product that oneDNN is the quicker at on an Intel CPU; with 64 it still is."""


class PackedWeight:
    """A weight (out, in), as `F.linear` has it, for products without gradients.

    Args:
        weight: as it stands now; a view may be transposed.
        rows: how many rows will be multiplied at a time, roughly; any number may be.
    """

    def __init__(self, weight: Float[Tensor, "out in"], rows: int) -> None:
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)

    @staticmethod
    def suits(weight: Tensor, rows: int = 1) -> bool:
        """Whether products of so many rows are in float32 on a CPU where oneDNN is the quicker."""
        return may_take_onednn(weight) and (rows <= MOST_ROWS or not is_by_mkls_maker())

    def product(self, x: Float[Tensor, "rows in"]) -> Float[Tensor, "rows out"]:
        """Compute x·weightᵀ."""
        return multiply(x, self.packed)
