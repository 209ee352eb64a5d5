"""The error that a user sees as one line."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something a user can put right.

    The message is one line: what was wrong, what was received, and what to do. Commands print it
    without a traceback and end with exit code 2.
    """


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean a or b?`, the nearest first, or nothing where no known word is near."""
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def neighbours(name: str, known: Iterable[str], limit: int = 30) -> str:
    """`did you mean …?` where something is close, and the list of what there is."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    listed = ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
    meant = f"did you mean {close[0]}? " if close else ""
    return f"{meant}there is: {listed}" if names else f"{meant}nothing stands there"
