"""How the caller's tensors lie, and how attention computes on them."""

from typing import NamedTuple

from torch import Tensor


class Layout(NamedTuple):
    """The way in and out: from the caller's layout to the one that is computed on, and back."""

    batch_first: bool
    """Compute on (B, T, E) rather than (T, B, E)."""
    transposed: bool
    """The caller's tensors are the other way round."""
    unbatched: bool
    """The caller's tensors are (T, E); computed on as (T, 1, E)."""

    @classmethod
    def choose(cls, dims: int, batch_first: bool, bit_identical: bool) -> "Layout":
        """Choose the layout to compute in.

        torch's module computes sequence-first whatever it is given, and the order of a sum decides
        its last bit; a kernel that is not after torch's bits takes tensors as they lie.
        """
        if dims == 2:
            return cls(batch_first=False, transposed=False, unbatched=True)
        transposed = batch_first and bit_identical
        return cls(batch_first and not transposed, transposed, unbatched=False)

    @property
    def batch_dim(self) -> int:
        """The batch's dimension in what is computed on."""
        return 0 if self.batch_first else 1

    def enter(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Bring the inputs in; those that are one object stay one, to be projected together.

        Not so unbatched inputs, which torch projects one by one.
        """
        if self.unbatched:
            return query.unsqueeze(1), key.unsqueeze(1), value.unsqueeze(1)
        if value is not key:  # then each has a view of its own, as torch gives it
            return self._enter(query), self._enter(key), self._enter(value)
        new_key = self._enter(key)
        return new_key if query is key else self._enter(query), new_key, new_key

    def leave(self, output: Tensor) -> Tensor:
        """Give the output the caller's layout."""
        if self.unbatched:
            return output.squeeze(1)
        return output.transpose(0, 1) if self.transposed else output

    def _enter(self, x: Tensor) -> Tensor:
        return x.transpose(0, 1) if self.transposed else x
