"""The prompt of `minitf translate` at a terminal: a sentence, its translation, and so on."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from minitf.commands.notice import say
from minitf.config.errors import UserError

if TYPE_CHECKING:
    from minitf.commands.translate import Job

_WELCOME = "Type a sentence and press Enter; arrow up brings earlier ones back; Ctrl-D ends."


def converse(job: "Job", output: TextIO) -> None:
    """Read sentences until Ctrl-D; an error in one is told, and the next is asked for."""
    map_file = job.map_file
    history = _history_file()
    with _readline(history):
        print(_WELCOME)
        while True:
            try:
                text = input("> ")
            except EOFError:
                print()
                return
            except KeyboardInterrupt:
                print("^C")
                continue
            try:
                texts, refused = job.readable([text.encode("utf-8", "surrogateescape")])
                if refused is not None:
                    raise refused
                job.write(job.translate(texts), output)
                if (map_refused := job.map_refused) is not None:
                    job.map_file, job.map_refused = map_file, None  # of the next sentence, then
                    raise map_refused
            except (UserError, OSError) as error:
                say(f"minitf: {error}")
            except KeyboardInterrupt:
                print("^C")


def _history_file() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "minitf" / "history"


@contextlib.contextmanager
def _readline(history: Path) -> Iterator[None]:
    """Line editing, with a history that lasts over sessions; without either where there is none."""
    try:
        import readline
    except ImportError:  # Windows
        yield
        return
    with contextlib.suppress(OSError):
        readline.read_history_file(history)
    readline.set_history_length(1000)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            history.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(history)
