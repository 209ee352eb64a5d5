"""Using a trained model: loading, translating, scoring."""

from minitf.evaluation.translator import Translator, load

__all__ = ["Translator", "load"]
