"""Token embeddings and the positions added to them.

Shapes: B batch, T length, E embed_dim, V vocabulary.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ScaledEmbedding(nn.Embedding):
    """Token embedding times sqrt(E) (Vaswani et al. 2017, section 3.4).

    The weight is drawn from N(0, 1/E), so that it suits an output projection that shares it; the
    factor brings what enters the first layer to unit variance, on a par with sinusoidal positions.
    """

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        """Look the tokens up and scale them."""
        return super().forward(tokens) * math.sqrt(self.embedding_dim)


class SinusoidalPositions(nn.Module):
    """Fixed sines and cosines of the position (Vaswani et al. 2017, section 3.5).

    With w_i = 10000^(-2i/E), position p is [sin(p w_0), sin(p w_1), … | cos(p w_0), cos(p w_1), …]:
    the paper's numbers with its interleaved columns put in two halves, as the authors' code has it.

    The table is no parameter and is not saved. For a longer input a longer one is made, and kept
    beside it: the buffer stays as it was, so that it fits those of the model's averages.
    """

    table: Tensor

    def __init__(self, embed_dim: int, initial_length: int = 512) -> None:
        super().__init__()
        self.embed_dim = embed_dim
        self.register_buffer("table", sinusoids(initial_length, embed_dim), persistent=False)
        self._longer: list[Tensor] = []

    def forward(self, start: int, length: int) -> Float[Tensor, "T E"]:
        """Positions start … start + length - 1."""
        end = start + length
        if end <= self.table.size(0):
            return self.table[start:end]
        longer = self._longer[-1] if self._longer else self.table
        if end > longer.size(0) or longer.device != self.table.device:
            with torch.inference_mode(False):  # training may come to use it
                longer = sinusoids(max(end, 2 * longer.size(0)), self.embed_dim)
                longer = longer.to(self.table.device)
            self._longer.append(longer)  # all are kept: a CUDA graph may go on reading a shorter
        return longer[start:end].to(self.table.dtype)


def sinusoids(length: int, embed_dim: int) -> Float[Tensor, "T E"]:
    """The table of `SinusoidalPositions`, computed in float64 and rounded once."""
    frequency = 10_000.0 ** (-torch.arange(0, embed_dim, 2, dtype=torch.float64) / embed_dim)
    angle = torch.arange(length, dtype=torch.float64).unsqueeze(1) * frequency
    # With an odd E there is one sine more than there are cosines.
    table = torch.cat([angle.sin(), angle.cos()[:, : embed_dim // 2]], dim=1)
    return table.to(torch.get_default_dtype())


class LearnedPositions(nn.Module):
    """One trained vector for each of `max_length` positions.

    Raises:
        ValueError: in forward, for an input longer than `max_length`.
    """

    def __init__(self, embed_dim: int, max_length: int) -> None:
        super().__init__()
        self.max_length = max_length
        self.weight = nn.Parameter(torch.empty(max_length, embed_dim))
        nn.init.normal_(self.weight, std=embed_dim**-0.5)

    def forward(self, start: int, length: int) -> Float[Tensor, "T E"]:
        """Positions start … start + length - 1."""
        if start + length > self.max_length:
            raise ValueError(
                f"model.positions=learned has vectors for {self.max_length} positions, "
                f"got a sequence of {start + length} tokens; "
                f"raise model.max_length or shorten the input"
            )
        return self.weight[start : start + length]
