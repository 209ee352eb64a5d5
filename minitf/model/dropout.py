"""The model's dropout."""

from torch import Tensor, nn

from minitf.attention.dropout import dropout


class Dropout(nn.Dropout):
    """torch's module with a random generator that costs a CPU a tenth of the time."""

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements in training; pass the input on in evaluation."""
        return dropout(input, self.p) if self.training else input
