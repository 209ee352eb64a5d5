"""The `minitf` command: one file for each sub-command, imported when it is called."""

import difflib
import importlib
import io
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Any

from minitf.commands.notice import say
from minitf.config.errors import UserError
from minitf.config.own_code import refusal_of_own_code

COMMANDS = {
    "verify": "certify that two attention implementations do the same",
    "translate": "translate text: a file, a pipe, or what is typed",
    "evaluate": "BLEU, chrF, TER and loss of a run; significance between two",
    "export": "write a model as safetensors, or for another engine",
    "bench": "this machine's speed and memory, against the alternatives",
}
"""What `minitf --help` lists; `NAME` is `minitf.commands.NAME:main(argv) -> exit code`."""

_EPILOG = """\
examples:
  python train.py                           train; into outputs/latest
  minitf translate outputs/latest           type a sentence, read another
  minitf translate outputs/latest <in >out  a file, line by line
  minitf evaluate outputs/latest            scores on the run's test splits
  minitf evaluate RUN_A RUN_B               is the difference significant?
  minitf verify                             is minitf's attention torch's?

exit codes: 0 done, 1 a check failed, 2 something to put right (in one line)

`minitf COMMAND --help` shows a command's options."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command.

    Args:
        argv: Its name and arguments; None: those of the process.

    Returns:
        The exit code: 0, what the sub-command returns, 2 for an error that the user can put right,
        130 for Ctrl-C, 141 where the reader of the output went away. SIGTERM ends the process with
        143.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stderr is None:  # closed by who started us; nothing said there is a loss
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    if sys.stdout is None:
        return _fail("standard output is closed: send it to a file or to /dev/null")
    if isinstance(sys.stdout, io.TextIOWrapper):  # a locale may lack a character
        sys.stdout.reconfigure(errors="replace")
    warnings.formatwarning = _warning  # type: ignore[assignment]
    if argv is None:  # so that what was begun is cleared away
        signal.signal(signal.SIGTERM, _terminated)
    try:
        return _run(arguments)
    except UserError as error:
        return _fail(str(error))
    except OSError as error:
        if error.filename is not None:
            return _fail(f"{error.filename}: {error.strerror}")
        # Writing failed; what is left in the buffer would raise again while Python shuts down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return 141
        return _fail(f"the output could not be written: {error.strerror or error}")
    except SystemExit as ended:  # rich's answer to a closed pipe
        if isinstance(ended.__context__, BrokenPipeError):
            return 141
        raise
    except BaseException as error:
        stopped = _ctrl_c(error)
        if stopped is None:
            refusal = refusal_of_own_code(error) if isinstance(error, Exception) else None
            if refusal is None:
                raise
            return _fail(str(refusal))
        if argv is None:  # the process ends: a further Ctrl-C would only interrupt Python's own end
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        say(f"\n{stopped}" if str(stopped) else "")
        return 130


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help(), flush=True)
        return 0 if arguments else 2
    name, *arguments = arguments
    if name == "--version":
        from minitf import __version__

        print(f"minitf {__version__}", flush=True)
        return 0
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"there is no command {name!r}; {hint}there is: {', '.join(COMMANDS)}")
    code: int = importlib.import_module(f"minitf.commands.{name}").main(arguments)
    sys.stdout.flush()  # a closed pipe shows here, not after the exit code is decided
    return code


def _terminated(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


def _ctrl_c(error: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C that an error is, or that a library made it of."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


def _fail(message: str) -> int:
    say(f"minitf: {message}")
    return 2


def _warning(message: Warning | str, *_: Any) -> str:
    """A warning as a user of commands reads it: not where in the code it was given."""
    return f"minitf: warning: {' '.join(str(message).split())}\n"


def _help() -> str:
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    return (
        "usage: minitf COMMAND ...\n\n"
        "Use, measure and certify what `python train.py` trains.\n\n"
        f"commands:\n{listed}\n\n{_EPILOG}"
    )
