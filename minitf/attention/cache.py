"""Keys and values kept from one decoding step to the next."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minitf.attention.errors import AttentionError


class KeyValueCache:
    """The keys and values of one attention module, per head, so far.

    Without it, step n of decoding projects n positions again; with it, one.

    Self-attention (`static=False`) appends each step's keys and values. Cross-attention
    (`static=True`) projects the source on the first call and reuses the result; from then on key
    and value may be None.

    Args:
        static: whether the keys stay as they are after the first call.
    """

    def __init__(self, static: bool = False) -> None:
        self.static = static
        self.length = 0
        """Positions held."""
        self._key: Tensor | None = None  # (B, H, capacity, D); the first `length` are in use
        self._value: Tensor | None = None

    @property
    def is_full(self) -> bool:
        """Whether a static cache has its keys, so that nothing is left to project."""
        return self.static and self._key is not None

    def update(
        self, key: Float[Tensor, "B H S D"], value: Float[Tensor, "B H S D"]
    ) -> tuple[Float[Tensor, "B H S_all D"], Float[Tensor, "B H S_all D"]]:
        """Append keys and values, (B, H, S, D), and return all that is held.

        Raises:
            AttentionError: the batch or the heads have another size than what is held.
        """
        if self._key is None or self._value is None:
            if self.static and not torch.is_grad_enabled():
                key, value = key.contiguous(), value.contiguous()  # they are read at every step
            self._key, self._value, self.length = key, value, key.shape[2]
            return key, value
        self._check_batch(self._key.shape[0], key.shape[0])
        held, got = (tuple(x.shape[1::2]) for x in (self._key, key))
        if held != got:
            raise AttentionError(
                f"the cache holds {held[0]} heads of {held[1]} features, got {got[0]} of {got[1]}: "
                "each attention needs a cache of its own"
            )
        start, self.length = self.length, self.length + key.shape[2]
        self._key = _append(self._key, key, start)
        self._value = _append(self._value, value, start)
        return self._key[:, :, : self.length], self._value[:, :, : self.length]

    def held(self, batch_size: int) -> tuple[Float[Tensor, "B H S D"], Float[Tensor, "B H S D"]]:
        """All keys and values, (B, H, length, D) each.

        Raises:
            AttentionError: the batch has another size than what is held, or nothing is held yet.
        """
        if self._key is None or self._value is None:
            raise AttentionError("the cache is empty: the first call needs key and value")
        self._check_batch(self._key.shape[0], batch_size)
        return self._key[:, :, : self.length], self._value[:, :, : self.length]

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` positions.

        Raises:
            AttentionError: the length is negative.
        """
        if length < 0:
            raise AttentionError(f"a cache is cut to 0 positions or more, got {length}")
        self.length = min(self.length, length)
        if self._key is None or self._value is None or self.length == 0:
            self._key = self._value = None
        else:  # what comes is written elsewhere: these may be the caller's own tensors
            self._key, self._value = self._key[:, :, :length], self._value[:, :, :length]

    def reorder(self, index: Int[Tensor, " rows"]) -> None:
        """Keep batch rows `index`, in that order; rows may repeat (beams) or be left out."""
        if self._key is not None and self._value is not None:
            self._key = self._key.index_select(0, index)
            self._value = self._value.index_select(0, index)

    @staticmethod
    def _check_batch(held: int, got: int) -> None:
        if held != got:
            raise AttentionError(
                f"the cache holds a batch of {held}, got {got}: call reorder() when rows leave, "
                "or start a new cache"
            )


def _append(buffer: Tensor, new: Tensor, start: int) -> Tensor:
    """Write `new` behind the first `start` positions of `buffer`, doubling it where it is full.

    Where gradients are recorded, what was returned before must not be written over, and what
    inference mode has made cannot be outside it: copy instead; so too in a compiled graph, which
    cannot ask.
    """
    end = start + new.shape[2]
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or _is_frozen(buffer):
        return torch.cat([buffer[:, :, :start], new], dim=2)
    if end > buffer.shape[2]:
        B, H, _, D = buffer.shape
        grown = buffer.new_empty(B, H, max(2 * start, end), D)
        grown[:, :, :start] = buffer[:, :, :start]
        buffer = grown
    buffer[:, :, start:end] = new
    return buffer


def _is_frozen(x: Tensor) -> bool:
    """Whether inference mode has made x, and has ended."""
    return x.is_inference() and not torch.is_inference_mode_enabled()
