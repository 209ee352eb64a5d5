"""Batches of like lengths from encoded pairs, with an exact position for resuming."""

from minitf.batching.batch import Batch
from minitf.batching.dropout import DropoutPairs
from minitf.batching.loader import ResumableLoader
from minitf.batching.pairs import EncodedPairs, encode_pairs
from minitf.batching.sampler import BatchSampler, check_budget, check_size

__all__ = [
    "Batch",
    "BatchSampler",
    "DropoutPairs",
    "EncodedPairs",
    "ResumableLoader",
    "check_budget",
    "check_size",
    "encode_pairs",
]
