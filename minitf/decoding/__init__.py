"""Greedy search, beam search and sampling over cached or recomputed attention."""

from minitf.decoding.batches import generate_all
from minitf.decoding.generate import generate
from minitf.decoding.hypothesis import Hypothesis

__all__ = ["Hypothesis", "generate", "generate_all"]
