"""The encoder-decoder Transformer: embeddings, layers, loss. It needs torch and jaxtyping alone."""

from minitf.model.loss import LossSums, label_smoothed_cross_entropy, linear_cross_entropy
from minitf.model.state import DecoderState
from minitf.model.transformer import ATTENTION_ROLES, Transformer

__all__ = [
    "ATTENTION_ROLES",
    "DecoderState",
    "LossSums",
    "Transformer",
    "label_smoothed_cross_entropy",
    "linear_cross_entropy",
]
