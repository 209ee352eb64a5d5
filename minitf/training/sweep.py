"""What a run knows of the sweep it belongs to."""

from typing import NamedTuple


class Sweep(NamedTuple):
    """A place in `python train.py -m …`; wandb shows the runs of a sweep as one group."""

    group: str
    """The sweep's name."""
    name: str
    """The run's name in it: the overrides that it got."""
