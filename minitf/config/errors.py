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
