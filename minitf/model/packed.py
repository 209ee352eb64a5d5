"""Float32 products on a CPU by oneDNN, with a weight that is packed once for many of them.

torch gives float32 products to MKL, which on an AMD EPYC reaches 78 to 86 GFLOP/s a core at a
vocabulary of 10,000 and E = 128, where oneDNN with a packed weight reaches 101 to 107; with 5 rows
it needs 0.14 ms, not 0.33. Packing such a weight takes 1.1 ms. On a CPU of MKL's own maker that is
so for few rows only: an Intel Xeon needs 0.23 ms, not 0.38, with 5, but with 450 MKL reaches 194
GFLOP/s, and oneDNN 158.
"""

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

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
        return (
            weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and torch._C._has_mkldnn
            and (rows <= MOST_ROWS or not _is_by_mkls_maker())
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )

    def product(self, x: Float[Tensor, "rows in"]) -> Float[Tensor, "rows out"]:
        """Compute x·weightᵀ."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, None, "none", [], "")
        return result


@cache
def _is_by_mkls_maker() -> bool:
    name = str(torch.cpu.get_capabilities().get("cpu_name", ""))
    has_mkl: bool = torch.backends.mkl.is_available()  # type: ignore[no-untyped-call]
    return has_mkl and name.startswith("Intel")
