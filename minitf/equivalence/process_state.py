"""Leave torch's thread number and global random state as they were."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def process_state_kept(threads: int | None, device: torch.device) -> Iterator[None]:
    """Compute with that many threads, None: as many as before; afterwards all is as it was."""
    before = torch.get_num_threads()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.set_num_threads(threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
