"""Implementations for the tests of the protocol; a worker finds them by this file's directory."""

import os
import sys

from minitf.bench.rounds import Rounds


def counts(rounds: Rounds, step: int) -> None:
    print("a library that prints to standard output")
    rounds.ready(step=step)
    while (number := rounds.wait()) is not None:
        rounds.report(seconds=1.0, value=number * step)


def logs(rounds: Rounds, name: str, file: str) -> None:
    """Writes down when its turn comes."""
    rounds.ready()
    while (number := rounds.wait()) is not None:
        with open(file, "a") as opened:
            opened.write(f"{number}{name} ")
        rounds.report()


def dies(rounds: Rounds) -> None:
    rounds.ready()
    rounds.wait()
    print("out of luck", file=sys.stderr, flush=True)
    os._exit(7)


def raises(rounds: Rounds) -> None:
    raise ValueError("two\nlines")


def lacks(rounds: Rounds, package: str) -> None:
    __import__(package)
