"""An error in code of the user's own: his frames, and one line, without those of libraries."""

import os
import sys
import sysconfig
import traceback
from pathlib import Path

from minitf.config.errors import UserError

_PACKAGE = Path(__file__).parents[1]
_LIBRARIES = tuple(
    os.path.join(os.path.realpath(path), "")
    for path in (str(_PACKAGE), sys.prefix, sys.base_prefix, *sysconfig.get_paths().values())
)


def refusal_of_own_code(error: BaseException) -> UserError | None:
    """What a user's attention, callback or other class raised; None where it was none of his.

    Its traceback, from the first frame of his, is printed on stderr before.

    Args:
        error: as caught by the command: the frames above are not looked at.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [number for number, frame in enumerate(frames) if _is_the_users(frame.filename)]
    if not own:
        return None
    print("Traceback from your own code on (most recent call last):", file=sys.stderr)
    print("".join(traceback.format_list(frames[own[0] :])), end="", file=sys.stderr)
    place = frames[own[-1]]
    message = " ".join(str(error).split()) or "no message"
    return UserError(
        f"{type(error).__name__} in {os.path.relpath(place.filename)}, line {place.lineno}, "
        f"{place.name}: {message}"
    )


def _is_the_users(file: str) -> bool:
    path = os.path.realpath(file)
    generated = "torchinductor_" in path  # by torch.compile, in its cache
    return os.path.isfile(path) and not generated and not path.startswith(_LIBRARIES)
