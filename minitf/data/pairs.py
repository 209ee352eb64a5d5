"""From two columns of text to a data split: the rules that hold for every source of data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minitf.config.errors import UserError
from minitf.config.schema import EmptyLines
from minitf.data.in_memory import Pair


def checked_pairs(
    src: Sequence[str],
    tgt: Sequence[str],
    *,
    empty_lines: EmptyLines,
    lowercase: bool,
    name: str,
    place: Callable[[int, bool], str],
) -> list[Pair]:
    """The pairs as they are to be used.

    Args:
        src: source texts.
        tgt: their translations.
        empty_lines: what to do where a side is empty or white space.
        lowercase: lower-case both sides.
        name: the split, for messages.
        place: names row n (from 0) and its source (True) or target side for messages.

    Raises:
        UserError: An empty side, if they are not to be skipped; or no pair is left.
    """
    pairs = []
    for n, (s, t) in enumerate(zip(src, tgt, strict=True)):
        if not s.strip() or not t.strip():
            if empty_lines == EmptyLines.error:
                where = place(n, not s.strip())
                raise UserError(
                    f"{where} is empty; put text there, remove the pair, or leave such pairs out "
                    "with data.empty_lines=skip"
                )
            continue
        pairs.append((s.lower(), t.lower()) if lowercase else (s, t))
    if not pairs:
        raise UserError(f"{name} has no pairs" + (", all are empty" if len(src) else ""))
    return pairs
