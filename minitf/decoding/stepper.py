"""Next-token probabilities of growing targets, with the model's cache where it has one.

Shapes: B sentences, S source length, K rows per sentence (beams or samples), V vocabulary.
"""

import torch
from torch import Tensor

from minitf.decoding.encoding import encode
from minitf.decoding.projection import Projection
from minitf.model import Transformer


class Stepper:
    """One batch of sources, encoded once, and what the decoder remembers of their targets.

    Args:
        model: in evaluation mode.
        src: (B, S), padded on the right.
    """

    def __init__(self, model: Transformer, src: Tensor) -> None:
        self.model = model
        self.memory = encode(model, src)
        self.padding_mask = model.src_padding_mask(src)
        self.state = model.new_state()
        half = self.memory.dtype in (torch.float16, torch.bfloat16)
        self.dtype = torch.float32 if half else self.memory.dtype
        """Of the log-probabilities."""
        self.projection = Projection(model, self.dtype)

    def next_log_prob(self, tokens: Tensor) -> Tensor:
        """The model's own log-probabilities of what follows each target.

        Args:
            tokens: (B, K, t) all targets so far, BOS first. Each call's are one longer than the
                last one's; K changes only where `reorder_targets` or `keep_sentences` has said so.

        Returns:
            (B, K, V), at least in float32, free to be changed in place, good until the next call.
        """
        seen = 0 if self.state is None else self.state.length
        new = tokens[..., seen:].flatten(0, 1)
        hidden = self.model.decode(new, self.memory, self.padding_mask, self.state)
        log_prob = self.projection.log_prob(hidden[:, -1])
        return log_prob.view(*tokens.shape[:2], -1)

    def reorder_targets(self, index: Tensor) -> None:
        """Row i goes on from what row index[i] holds; index is (B·K,)."""
        if self.state is not None:
            self.state.reorder_targets(index)

    def keep_sentences(self, sentences: Tensor, rows: Tensor) -> None:
        """Go on with these sentences and their target rows alone."""
        self.memory = self.memory.index_select(0, sentences)
        self.padding_mask = self.padding_mask.index_select(0, sentences)
        if self.state is not None:
            self.state.reorder_sources(sentences)
            self.state.reorder_targets(rows)
