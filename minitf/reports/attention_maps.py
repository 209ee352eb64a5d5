"""Pictures of attention weights: what each target token looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from minitf.config.errors import UserError
from minitf.reports.picture import font_families

if TYPE_CHECKING:
    from minitf.model import Transformer
    from minitf.tokenizer import TextTokenizer

_MOST_TOKENS = 60  # beyond this, labels are no longer readable
_TOO_LONG = (
    f"an attention map shows sentences up to {_MOST_TOKENS} tokens; received {{}} source and {{}} "
    "target tokens: choose a shorter sentence"
)
_MOST_CELLS = 24  # weights are written into cells up to this length
_ROUNDING = 0.01  # of weights in half precision


def cross_attention(
    model: "Transformer", tokenizer: "TextTokenizer", src: Sequence[int], tgt: Sequence[int]
) -> tuple[Tensor, list[str], list[str]]:
    """The cross-attention weights of a sentence pair.

    Args:
        model: The trained model.
        tokenizer: Gives labels and special ids.
        src: The source's tokens, without EOS.
        tgt: The translation's, without BOS and EOS.

    Returns:
        Weights (L, H, T, S) in main memory, one row for each token that is written, EOS last; the
        labels of the T written tokens; those of the S source tokens.
    """
    device = next(model.parameters()).device
    if max(len(src), len(tgt)) + 1 > _MOST_TOKENS:
        raise UserError(_TOO_LONG.format(len(src) + 1, len(tgt) + 1))
    source = torch.tensor([[*src, tokenizer.eos_id]], device=device)
    target = torch.tensor([[tokenizer.bos_id, *tgt]], device=device)
    try:
        maps = model.attention_maps(source, target)
    except ValueError as error:
        raise UserError(f"no attention map can be drawn: {error}") from error
    end = "⟨end⟩"
    weights = maps["cross"][:, 0].float().cpu()
    return weights, [*tokenizer.pieces(tgt), end], [*tokenizer.pieces(src), end]


def attention_map_figure(
    model: "Transformer", tokenizer: "TextTokenizer", src: Sequence[int], tgt: Sequence[int]
) -> Any:
    """Cross-attention of a sentence pair: every layer's heads and mean, and the mean of all.

    Row i of a map is the distribution over the source from which token i was written.

    Args:
        model: The trained model.
        tokenizer: Gives labels and special ids.
        src: The source's tokens, without EOS.
        tgt: The translation's, without BOS and EOS.

    Returns:
        A matplotlib Figure.

    Raises:
        UserError: The sentences are too long to be read in a picture, or the attention gives no
            weights.
    """
    weights, written, read = cross_attention(model, tokenizer, src, tgt)
    return draw_attention(weights, rows=written, columns=read)


def draw_attention(weights: Tensor, rows: Sequence[str], columns: Sequence[str]) -> Any:
    """A grid of maps: on top the mean of all, below one line per layer, its mean first.

    Args:
        weights: (L, H, T, S), each row a distribution over S. Colours reach from 0 to 1; where
            weights lie outside, as far as the largest on both sides of 0.
        rows: T labels, the tokens that attend.
        columns: S labels, the tokens attended to.

    Returns:
        A matplotlib Figure.

    Raises:
        UserError: A side has more than 60 tokens.
    """
    from matplotlib.figure import Figure

    layers, heads, T, S = weights.shape
    if (len(rows), len(columns)) != (T, S):
        raise ValueError(f"{T} x {S} weights need as many labels, got {len(rows)}, {len(columns)}")
    if max(T, S) > _MOST_TOKENS:
        raise UserError(_TOO_LONG.format(S, T))
    small = (0.9 + 0.13 * S, 0.8 + 0.13 * T)  # inches
    large = (1.6 + 0.32 * S, 1.4 + 0.32 * T)
    width = max((heads + 1) * small[0], large[0] + 1)
    figure = Figure(figsize=(width, large[1] + layers * small[1]), layout="constrained")
    scale = _scale(weights)
    title = "mean of all heads"
    if scale.low < 0:
        least, most = (end.item() for end in weights.nan_to_num(0, 0, 0).aminmax())
        title += f"\nno distributions: weights from {least:.2g} to {most:.2g}"
    grid = figure.add_gridspec(1 + layers, 1, height_ratios=[large[1], *[small[1]] * layers])
    image = _map(figure.add_subplot(grid[0]), weights.mean((0, 1)), rows, columns, title, 9, scale)
    figure.axes[0].set_xlabel("source token, attended to")
    figure.axes[0].set_ylabel("target token, being written")
    for layer in range(layers):
        line = grid[1 + layer].subgridspec(1, heads + 1)
        shown = [("mean", weights[layer].mean(0))]
        shown += [(f"head {head + 1}", weights[layer, head]) for head in range(heads)]
        for position, (name, map_) in enumerate(shown):
            title = f"layer {layer + 1}, {name}" if position == 0 else name
            _map(figure.add_subplot(line[position]), map_, rows, columns, title, 5, scale)
    figure.colorbar(
        image, ax=figure.axes[0], shrink=0.8, panchor=(0.5, 0.5), label="attention weight"
    )
    return figure


@dataclass
class _Scale:
    """The colours of all maps, and the weights at their ends."""

    colors: str
    low: float
    high: float

    def text_color(self, weight: float) -> str | None:
        """What is legible on a weight's colour; None where it is too small to be written."""
        share = abs(weight) / self.high
        if not share >= 0.1:  # NaN is not either
            return None
        light_on_dark = share > 0.6 if self.low < 0 else share <= 0.6
        return "white" if light_on_dark else "black"


def _scale(weights: Tensor) -> _Scale:
    weights = weights.nan_to_num(0, 0, 0)
    if weights.min() >= -_ROUNDING and weights.max() <= 1 + _ROUNDING:
        return _Scale("magma", 0.0, 1.0)
    most = weights.abs().max().item()
    return _Scale("RdBu_r", -most, most)


def _map(
    axes: Any,
    weights: Tensor,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    size: int,
    scale: _Scale,
) -> Any:
    image = axes.imshow(
        weights.numpy(), cmap=scale.colors, vmin=scale.low, vmax=scale.high, aspect="equal"
    )
    axes.set_title(title, fontsize=size + 2)
    # A $ in a token would start mathematics.
    font = {"fontsize": size, "fontfamily": font_families()}
    axes.set_xticks(range(len(columns)), [_plain(c) for c in columns], rotation=90, **font)
    axes.set_yticks(range(len(rows)), [_plain(r) for r in rows], **font)
    axes.tick_params(length=0)
    if size > 5 and max(len(rows), len(columns)) <= _MOST_CELLS:
        for (i, j), weight in np.ndenumerate(weights.double().numpy()):
            if color := scale.text_color(weight):
                axes.text(j, i, f"{weight:.1f}", ha="center", va="center", fontsize=6, color=color)
    return image


def _plain(label: str) -> str:
    return label.replace("$", r"\$")
