"""What a command must not overwrite."""

import os

from minitf.config.errors import UserError


def same_place(one: str, other: str) -> bool:
    """Whether two names are of one file, which need not be there yet."""
    return os.path.realpath(one) == os.path.realpath(other)


def refuse_to_overwrite(source: str | int, output: str | None, option: str) -> None:
    """Refuse an output that is an input, a file or standard input.

    Raises:
        UserError: it is.
    """
    if output and os.path.isfile(output) and os.path.samestat(os.stat(source), os.stat(output)):
        raise UserError(f"{option} {output} is the input: give another file")
