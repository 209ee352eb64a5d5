"""The encoder over sources of unlike lengths, with little padding.

Shapes: B sentences, S source length, E embed_dim.
"""

from torch import Tensor

from minitf.model import Transformer

POSITIONS = 1024
"""In one pass of the encoder on a CPU: enough for its matrix products, and few sentences that are
padded to the longest of them."""


def encode(model: Transformer, src: Tensor) -> Tensor:
    """The encoder's output (B, S, E), zero where a pass has left padding out.

    On a CPU sentences go through it in groups of like lengths, for padding costs what a word does;
    an accelerator has all of them in one pass.

    Args:
        model: in evaluation mode.
        src: (B, S), padded on the right.
    """
    if src.device.type != "cpu" or src.numel() <= POSITIONS:
        return model.encode(src)
    lengths = (src != model.pad_id).sum(1)
    order = lengths.argsort(descending=True, stable=True)
    memory: Tensor | None = None
    start = 0
    while start < len(order):
        longest = int(lengths[order[start]])
        rows = order[start : start + max(1, POSITIONS // longest)]
        part = model.encode(src[rows, :longest])
        if memory is None:
            memory = part.new_zeros(*src.shape, part.size(-1))
        memory[rows, :longest] = part
        start += len(rows)
    assert memory is not None  # src has more than no rows
    return memory
