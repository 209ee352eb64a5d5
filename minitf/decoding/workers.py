"""Work side by side on a CPU's cores.

A decoding step of a small model is many short operations, which two threads each hardly speed up;
two batches with one thread each keep both cores busy.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

MOST_WORKERS = 4
"""More would wait for each other's Python."""


def workers_on(device: torch.device) -> int:
    """How many batches to work on at a time there."""
    return min(torch.get_num_threads(), MOST_WORKERS) if device.type == "cpu" else 1


Item = TypeVar("Item")
Result = TypeVar("Result")


def side_by_side(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[Result]:
    """The function's results in the items' order, `workers` at a time.

    Torch's threads are shared out among the workers meanwhile. An exception, Ctrl-C among them,
    comes out here once the items that are being worked on are done; the rest is left.
    """
    if workers == 1 or len(items) < 2:
        yield from map(function, items)
        return
    threads = torch.get_num_threads()
    autocast, dtype = torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    share, rest = divmod(threads, workers)
    numbers = itertools.count()

    def begin() -> None:
        torch.get_num_threads()  # torch sets a thread's number when it is first asked for
        torch.set_num_threads(max(1, share + (next(numbers) < rest)))  # of this thread

    def run(item: Item) -> Result:
        with torch.autocast("cpu", dtype, enabled=autocast):  # each thread has its own
            return function(item)

    pool = ThreadPoolExecutor(workers, "decoding", begin)
    try:
        yield from pool.map(run, items)
    finally:
        try:
            pool.shutdown(cancel_futures=True)
        finally:
            torch.set_num_threads(threads)  # for threads to come
