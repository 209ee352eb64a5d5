"""What every decoder under measurement shares: the task, and the clock."""

import json
import time
from collections.abc import Callable
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


def seconds_of(translate: Callable[[], object]) -> float:
    """Of the second time: the first allocates."""
    translate()
    start = time.perf_counter()
    translate()
    return time.perf_counter() - start


def take_turns(
    rounds: Rounds, translate: Callable[[], list[list[int]]], settings: str = ""
) -> None:
    """Translate everything once a round; the warm-up's answer holds the outputs.

    Args:
        rounds: the parent's word.
        translate: gives the outputs on the host, without BOS and EOS, in the sources' order.
        settings: what was chosen, for the row's note.
    """
    rounds.ready(settings=settings)
    while (number := rounds.wait()) is not None:
        start = time.perf_counter()
        outputs = translate()
        seconds = time.perf_counter() - start
        rounds.report(
            seconds=seconds,
            sentences=len(outputs),
            tokens=sum(map(len, outputs)),
            **({"outputs": outputs} if number == 0 else {}),
        )
