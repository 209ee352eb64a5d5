"""From the decoder's output to log-probabilities: half of a small model's decoding on a CPU.

Shapes: N rows, E embed_dim, V vocabulary.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from minitf.attention.linear import is_plain
from minitf.model import Transformer
from minitf.model.packed import PackedWeight

ROWS = 256
"""That the packed weight is laid out for."""


class Projection:
    """The model's output projection and its log-softmax, for one search.

    Args:
        model: its weights stay as they are meanwhile.
        dtype: of the log-probabilities.
    """

    def __init__(self, model: Transformer, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.project: Callable[[Tensor], Tensor] = model.project
        layer = model.output_projection
        plain = type(model).project is Transformer.project and type(layer) is nn.Linear
        plain = plain and is_plain(layer)
        if plain and dtype == torch.float32 and PackedWeight.suits(layer.weight):
            self.weight = layer.weight.detach()
            self.packed = PackedWeight(layer.weight, ROWS)
            self.buffer = layer.weight.new_empty(0, model.vocab_size)
            self.project = self._product

    def _product(self, hidden: Tensor) -> Tensor:
        rows = hidden.size(0)
        if PackedWeight.suits(self.weight, rows):
            return self.packed.product(hidden)
        if rows > self.buffer.size(0):
            self.buffer = hidden.new_empty(rows, self.buffer.size(1))
        # Into the same memory each time: so much anew comes page by page from the system.
        return torch.mm(hidden, self.weight.t(), out=self.buffer[:rows])

    def log_prob(self, hidden: Tensor) -> Tensor:
        """Log-probabilities (N, V) from the decoder's output (N, E); no gradients.

        They are good until the next call.
        """
        logits = self.project(hidden)
        if logits.dtype != self.dtype:
            return logits.log_softmax(-1, dtype=self.dtype)
        return torch.log_softmax(logits, -1, out=logits)  # in place: less memory to go through
