"""Attention weights for figures, taken from the outside.

In training no attention is asked for its weights: that would cost memory quadratic in the length.
Here hooks change the two arguments of each attention's call for one forward pass, so the layers
know nothing of it.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from minitf.model.transformer import Transformer


def attention_maps(model: "Transformer", src: Tensor, tgt: Tensor) -> dict[str, Tensor]:
    """See `Transformer.attention_maps`."""
    kinds: dict[str, list[Any]] = {
        "encoder": [layer.self_attn for layer in model.encoder.layers],
        "decoder": [layer.self_attn for layer in model.decoder.layers],
        "cross": [layer.multihead_attn for layer in model.decoder.layers],
    }
    maps: dict[str, list[Tensor]] = {kind: [] for kind in kinds}

    keys = {"encoder": src.size(1), "decoder": tgt.size(1), "cross": src.size(1)}

    def keep(kind: str, module: nn.Module, weights: Tensor | None) -> None:
        if weights is None or weights.dim() != 4 or weights.size(-1) < keys[kind]:
            got = "None" if weights is None else f"shape {tuple(weights.shape)}"
            raise ValueError(
                f"{type(module).__name__} gives no weights of every head, (B, H, T, S), when asked "
                f"with need_weights=True and average_attn_weights=False: got {got}"
            )
        maps[kind].append(weights[..., : keys[kind]])  # without learned keys and those of zeros

    def ask_for_weights(
        module: nn.Module, args: Any, kwargs: dict[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        return args, {**kwargs, "need_weights": True, "average_attn_weights": False}

    handles = []
    for kind, attentions in kinds.items():
        for attention in attentions:
            handles.append(attention.register_forward_pre_hook(ask_for_weights, with_kwargs=True))
            handles.append(
                attention.register_forward_hook(
                    lambda module, _args, result, kind=kind: keep(kind, module, result[1])
                )
            )
    were_training = {module: module.training for module in model.modules()}
    try:
        model.eval()  # dropped-out weights would not sum to one
        model(src, tgt)
    except (ValueError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # an attention that has none may say so in its own way
        raise ValueError(
            "the attention gives no weights: asked with need_weights=True it raised "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    finally:
        for module, was_training in were_training.items():
            module.training = was_training
        for handle in handles:
            handle.remove()
    return {kind: torch.stack(weights) for kind, weights in maps.items()}
