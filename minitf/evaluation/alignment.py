"""Which source token each written token looked at most."""

import math
from collections.abc import Sequence

from minitf.decoding.batches import pad
from minitf.model import Transformer
from minitf.tokenizer import TextTokenizer

MOST_WEIGHTS = 1 << 22
"""Of one head in one forward: the maps of all heads are held at the same time."""


def alignments(
    model: Transformer,
    tokenizer: TextTokenizer,
    sources: Sequence[list[int]],
    targets: Sequence[list[int]],
) -> list[list[int]]:
    """For each target token, the source token with the largest cross-attention weight.

    The weights are averaged over all layers and heads. They show where the model looked, which is
    less than a word alignment (Jain and Wallace 2019).

    Args:
        model: The trained model.
        tokenizer: Gives the special ids.
        sources: Token ids of each source, without EOS.
        targets: Token ids of each translation, without BOS and EOS.

    Returns:
        For each pair one source index per target token; EOS of the source is never one.

    Raises:
        ValueError: The attention gives no weights.
    """
    device = next(model.parameters()).device
    found: list[list[int]] = [[] for _ in sources]
    pairs = [i for i in range(len(sources)) if sources[i] and targets[i]]
    pairs.sort(key=lambda i: len(sources[i]) + len(targets[i]), reverse=True)
    while pairs:
        positions = len(sources[pairs[0]]) + len(targets[pairs[0]]) + 2  # the most of those left
        count = max(1, MOST_WEIGHTS // positions**2)
        rows, pairs = pairs[:count], pairs[count:]
        src = pad([[*sources[i], tokenizer.eos_id] for i in rows], tokenizer.pad_id).to(device)
        tgt = pad([[tokenizer.bos_id, *targets[i]] for i in rows], tokenizer.pad_id).to(device)
        weights = model.attention_maps(src, tgt)["cross"].float().mean((0, 2))  # (B, T, S)
        no_text = ((src == tokenizer.eos_id) | (src == tokenizer.pad_id)).unsqueeze(1)  # (B, 1, S)
        best = weights.masked_fill(no_text, -math.inf).argmax(-1).tolist()
        for row, i in enumerate(rows):
            # Position t, which has read the tokens before it, writes token t.
            found[i] = best[row][: len(targets[i])]
    return found
