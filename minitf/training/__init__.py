"""Training: the LightningModule, its callbacks, and the run from data to translations."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minitf.training.command import main as main
    from minitf.training.run import train as train

__all__ = ["main", "train"]


def __getattr__(name: str) -> Any:  # `--help` and typos answer before Lightning is imported
    if name == "main":
        from minitf.training.command import main

        return main
    if name == "train":
        from minitf.training.run import train

        return train
    raise AttributeError(f"module 'minitf.training' has no attribute {name!r}")
