"""Float32 products on a CPU by oneDNN, with a weight that is packed once for many of them.

torch gives float32 products to another library, which on an AMD EPYC reaches 78 to 86 GFLOP/s a
core at a vocabulary of 10,000 and E = 128, where oneDNN with a packed weight reaches 101 to 107;
with 5 rows it needs 0.14 ms, not 0.33. Packing such a weight takes 1.1 ms.
"""

import torch
from jaxtyping import Float
from torch import Tensor


class PackedWeight:
    """A weight (out, in), as `F.linear` has it, for products without gradients.

    Args:
        weight: as it stands now; a view may be transposed.
        rows: how many rows will be multiplied at a time, roughly; any number may be.
    """

    def __init__(self, weight: Float[Tensor, "out in"], rows: int) -> None:
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), rows)

    @staticmethod
    def suits(weight: Tensor) -> bool:
        """Whether this weight's products are computed in float32 on a CPU that has oneDNN."""
        return (
            weight.device.type == "cpu"
            and weight.dtype == torch.float32
            and torch._C._has_mkldnn
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
        )

    def product(self, x: Float[Tensor, "rows in"]) -> Float[Tensor, "rows out"]:
        """Compute x·weightᵀ."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, None, "none", [], "")
        return result
