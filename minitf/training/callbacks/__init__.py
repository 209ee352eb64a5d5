"""One concern to a callback."""

from minitf.training.callbacks.final_validation import FinalValidation
from minitf.training.callbacks.interruption import Interrupted, Interruption
from minitf.training.callbacks.monitor import Monitor
from minitf.training.callbacks.progress import Progress
from minitf.training.callbacks.random_state import RandomState

__all__ = ["FinalValidation", "Interrupted", "Interruption", "Monitor", "Progress", "RandomState"]
