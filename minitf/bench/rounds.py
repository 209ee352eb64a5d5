"""Parent and workers: each implementation in a process of its own, all taking turns.

A worker imports one library, builds its model, and then waits. The parent tells the workers, one
after the other, to do round 0 (warm-up; several at once where they compile), then round 1, and so
on: a busy machine slows all alike, while libraries, threads and allocators stay apart, and a worker
that dies takes nobody along.

They speak JSON, a line a message, over the worker's standard input and output:

    parent                                              worker
    {"module": …, "function": …, "arguments": {…}}  ->
                                                    <-  {"ready": {…facts}}
    {"round": 0}                                    ->
                                                    <-  {"seconds": …, …figures}
    {"stop": true}                                  ->
                                                    <-  {"peak_memory": MiB}

At any time a worker may answer {"error": one line} and end.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import minitf


@dataclass(frozen=True)
class Implementation:
    """Who is to be measured: `function(rounds, **arguments)` of a module, in its own process."""

    name: str
    module: str
    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Measured:
    """What one worker reported."""

    name: str
    facts: dict[str, Any] = field(default_factory=dict)
    """Known once it was built, such as its number of parameters."""
    warm_up: dict[str, Any] = field(default_factory=dict)
    """What it answered to round 0."""
    rounds: list[dict[str, Any]] = field(default_factory=list)
    """Figures of each round, the warm-up left out."""
    peak_memory: float | None = None
    """MiB."""
    error: str | None = None
    """Why there are no figures, in one line."""


class Rounds:
    """What a worker's function gets: it waits for the parent's word, and reports.

    Example of a worker's function::

        def run(rounds, task):
            model = build(task)
            rounds.ready(parameters=model.num_parameters())
            while (number := rounds.wait()) is not None:
                start = time.perf_counter()
                ...
                rounds.report(seconds=time.perf_counter() - start)
    """

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive, self._send = receive, send

    def ready(self, **facts: Any) -> None:
        """Say that all is built."""
        self._write({"ready": facts})

    def wait(self) -> int | None:
        """Block until the parent wants a round: its number; None: no more.

        Meanwhile a GPU's memory that is not in use is left to the others.
        """
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_initialized():
            torch.cuda.empty_cache()
        message = json.loads(self._receive.readline() or '{"stop": true}')
        number: int | None = message.get("round")
        return number

    def report(self, **figures: Any) -> None:
        """Answer a round."""
        self._write(figures)

    def _write(self, message: dict[str, Any]) -> None:
        self._send.write(json.dumps(message) + "\n")
        self._send.flush()


def measure(
    implementations: Sequence[Implementation], rounds: int, warm_up_together: int = 1
) -> list[Measured]:
    """Start a worker for each implementation and let them take turns.

    Args:
        implementations: whom; those that fail are reported with an error, and the rest goes on.
        rounds: how many count, after one of warm-up.
        warm_up_together: so many do their warm-up at the same time; above 1 where it compiles.

    Returns:
        One Measured for each, in order.
    """
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_Worker(one)) for one in implementations]
        for worker in workers:  # importing a library takes seconds: all do so at the same time
            worker.get_ready()
        for first in range(0, len(workers), warm_up_together):
            group = workers[first : first + warm_up_together]
            for worker in group:
                worker.ask(0)
            for worker in group:
                worker.hear(0)
        for number in range(1, rounds + 1):
            for worker in workers:
                worker.ask(number)
                worker.hear(number)
        for worker in workers:
            worker.finish()
    return [worker.found for worker in workers]


class _Worker:
    """The parent's end of one worker."""

    def __init__(self, implementation: Implementation) -> None:
        self.found = Measured(implementation.name)
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        self._directory = tempfile.TemporaryDirectory(prefix="minitf-bench-")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "minitf.bench.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=self._directory.name,
            env=worker_environment(),
            text=True,
        )
        self._tell(
            {
                "module": implementation.module,
                "function": implementation.function,
                "arguments": dict(implementation.arguments),
            }
        )

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._stderr.close()
        self._directory.cleanup()

    def get_ready(self) -> None:
        """Wait until it is built."""
        if answer := self._hear():
            self.found.facts = answer["ready"]

    def ask(self, number: int) -> None:
        """Let it begin a round."""
        if self.found.error is None:
            self._tell({"round": number})

    def hear(self, number: int) -> None:
        """What it found in the round that was asked of it."""
        if self.found.error is None:
            answer = self._hear()
            if answer is not None and number == 0:
                self.found.warm_up = answer
            elif answer is not None:
                self.found.rounds.append(answer)

    def finish(self) -> None:
        """Let it end, and hear what memory it took."""
        if self.found.error is None:
            self._tell({"stop": True})
            if answer := self._hear():
                self.found.peak_memory = answer["peak_memory"]

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it died; what it left behind says why
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def _hear(self) -> dict[str, Any] | None:
        """Its answer; None where it failed, and then `found.error` says why."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            self.found.error = answer["error"]
            return None
        return answer

    def _last_words(self) -> str:
        code = self._process.wait()
        self._stderr.seek(0)
        lines = [line.strip() for line in self._stderr if line.strip()]
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"its process was {how}" + (f": {lines[-1]}" if lines else "")


def worker_environment() -> dict[str, str]:
    """This process' environment: this package found anywhere, offline, one GPU at most."""
    package = str(Path(minitf.__file__).parent.parent)
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    return os.environ | {
        "CUDA_VISIBLE_DEVICES": gpu,
        "PYTHONPATH": os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])),
        "HF_HUB_OFFLINE": "1",
        "WANDB_MODE": "offline",
    }


@contextlib.contextmanager
def own_streams() -> Iterator[tuple[Any, Any]]:
    """A worker's ends of the two pipes; what libraries print goes to standard error meanwhile."""
    with os.fdopen(os.dup(0), "r") as receive, os.fdopen(os.dup(1), "w") as send:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        yield receive, send
