"""`data.val=null`: pairs of the training split are held out for validation."""

from __future__ import annotations

from minitf.config.errors import UserError
from minitf.config.schema import HubConfig, TableConfig, TextFilesConfig
from minitf.data.in_memory import Pair

_MOST, _SHARE = 500, 20
"""Held out where no number is given: so many pairs, or one in so many where that is fewer."""


def with_val(
    config: TextFilesConfig | TableConfig | HubConfig, splits: dict[str, list[Pair]]
) -> dict[str, list[Pair]]:
    """The splits, with `val` taken out of `train` where the configuration names none.

    They are taken at equal distances, so they are the same each time that the data are read.

    Raises:
        UserError: A number that is not to be had, or one beside a `data.val`.
    """
    number = config.val_held_out
    if config.val is not None:
        if number is not None:
            raise UserError(
                f"data.val_held_out={number} goes with data.val=null, got data.val={config.val}; "
                "leave one of them out"
            )
        return splits
    train = splits["train"]
    if number is None:
        number = max(1, min(_MOST, len(train) // _SHARE))
    if not 0 < number < len(train):
        raise UserError(
            f"data.val_held_out must be at least 1 and leave pairs to train on, got {number} of "
            f"{len(train):,} pairs"
        )
    chosen = {n * len(train) // number for n in range(number)}
    return {
        "train": [pair for n, pair in enumerate(train) if n not in chosen],
        "val": [pair for n, pair in enumerate(train) if n in chosen],
        **{name: pairs for name, pairs in splits.items() if name != "train"},
    }
