"""The model's linear layers."""

from torch import Tensor, nn

from minitf.attention.linear import linear


class Linear(nn.Linear):
    """torch's module, by the library that is the quicker on the CPU at hand."""

    def forward(self, input: Tensor) -> Tensor:
        """Compute input·weightᵀ + bias."""
        return linear(input, self.weight, self.bias)
