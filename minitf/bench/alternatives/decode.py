"""What every decoder under measurement shares: the task, and the clock."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from minitf.bench.rounds import Rounds


class Task:
    """What `minitf.bench.decoding.decoding_task` wrote."""

    def __init__(self, file: str) -> None:
        content = json.loads(Path(file).read_text())
        self.sources: list[list[int]] = content["sources"]
        """Token numbers without EOS."""
        self.longest: list[int] = content["longest"]
        """The most tokens that each source's output may have, EOS left out."""
        self.beams: int = content["beams"]
        self.bos_id: int = content["bos_id"]
        self.eos_id: int = content["eos_id"]
        self.pad_id: int = content["pad_id"]
        self.vocabulary: list[str] = content["vocabulary"]


Translate = Callable[[], list[list[int]]]
"""Gives the outputs on the host, without BOS and EOS, in the sources' order."""


def take_turns(rounds: Rounds, ways: Mapping[str, Translate]) -> None:
    """Translate everything once a round, in the way that is the fastest here.

    Which that is is tried in the warm-up, when nobody else is at work; its answer also holds the
    outputs.

    Args:
        rounds: the parent's word.
        ways: each by its settings.
    """
    rounds.ready()
    settings = next(iter(ways))
    while (number := rounds.wait()) is not None:
        if number == 0 and len(ways) > 1:
            settings = min(ways, key=lambda settings: _seconds(ways[settings]))
        start = time.perf_counter()
        outputs = ways[settings]()
        seconds = time.perf_counter() - start
        rounds.report(
            seconds=seconds,
            sentences=len(outputs),
            tokens=sum(map(len, outputs)),
            **({"outputs": outputs, "settings": settings} if number == 0 else {}),
        )


def _seconds(translate: Translate) -> float:
    """Of the second time: the first allocates."""
    translate()
    start = time.perf_counter()
    translate()
    return time.perf_counter() - start
