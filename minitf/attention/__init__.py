"""Multi-head attention: an exact, complete and faster drop-in for torch.nn.MultiheadAttention."""

from minitf.attention.cache import KeyValueCache
from minitf.attention.errors import AttentionError
from minitf.attention.module import MultiHeadAttention

__all__ = ["AttentionError", "KeyValueCache", "MultiHeadAttention"]
