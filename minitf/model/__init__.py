"""The encoder-decoder Transformer: embeddings, layers, loss. It needs torch and jaxtyping alone."""

from minitf.model.loss import LossSums, label_smoothed_cross_entropy, linear_cross_entropy
from minitf.model.state import DecoderState
from minitf.model.transformer import Transformer

__all__ = [
    "DecoderState",
    "LossSums",
    "Transformer",
    "label_smoothed_cross_entropy",
    "linear_cross_entropy",
]
