"""One concern to a callback."""

from minitf.training.callbacks.autosave import Autosave
from minitf.training.callbacks.ema import EMAWeightAveraging
from minitf.training.callbacks.epoch_end import EpochEnd
from minitf.training.callbacks.final_validation import FinalValidation
from minitf.training.callbacks.interruption import AtOnce, Interrupted, Interruption
from minitf.training.callbacks.monitor import Monitor
from minitf.training.callbacks.progress import Progress
from minitf.training.callbacks.random_state import RandomState

__all__ = [
    "AtOnce",
    "Autosave",
    "EMAWeightAveraging",
    "EpochEnd",
    "FinalValidation",
    "Interrupted",
    "Interruption",
    "Monitor",
    "Progress",
    "RandomState",
]
