"""What the decoder remembers between two tokens."""

from jaxtyping import Int
from torch import Tensor

from minitf.attention import KeyValueCache


class DecoderState:
    """Each decoder layer's keys and values: of the target so far, and of the source.

    The self-attention caches hold a row for each target row (N: sentences times beams); the
    cross-attention caches hold one for each sentence (B), however many beams it has.
    """

    def __init__(self, num_layers: int) -> None:
        self.self_attention = [KeyValueCache() for _ in range(num_layers)]
        self.cross_attention = [KeyValueCache(static=True) for _ in range(num_layers)]

    @property
    def length(self) -> int:
        """Target tokens seen so far."""
        return self.self_attention[0].length

    def layer(self, index: int) -> tuple[KeyValueCache, KeyValueCache]:
        """The two caches of one layer."""
        return self.self_attention[index], self.cross_attention[index]

    def reorder_targets(self, index: Int[Tensor, " rows"]) -> None:
        """Row i continues what row index[i] wrote: needed after each step of a beam search."""
        for cache in self.self_attention:
            cache.reorder(index)

    def reorder_sources(self, index: Int[Tensor, " sentences"]) -> None:
        """Keep these sentences: needed when finished ones leave."""
        for cache in self.cross_attention:
            cache.reorder(index)
