"""Greedy search, beam search and sampling over cached or recomputed attention."""

from minitf.decoding.batches import generate_all
from minitf.decoding.generate import generate
from minitf.decoding.hypothesis import Hypothesis
from minitf.decoding.options import check_options

__all__ = ["Hypothesis", "check_options", "generate", "generate_all"]
