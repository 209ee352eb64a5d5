"""What is said beside the output, on stderr."""

import os
import sys


def say(text: str, end: str = "\n") -> None:
    """Print to stderr; that nobody hears it (a full disk, a closed pipe) ends no work."""
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
