"""The two whole models under comparison, and the oracle's: one set of weights, three attentions."""

import copy
import dataclasses
import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from minitf.config.errors import UserError
from minitf.config.schema import ModelConfig
from minitf.equivalence.implementations import TORCH_OPTIONS, Implementation
from minitf.equivalence.oracle import OracleAttention
from minitf.equivalence.rounding import ROUNDING_DRAWS, RandomRounding, Rounding
from minitf.equivalence.task import PAD, TokenBatch
from minitf.evaluation.build import build_model
from minitf.model import Transformer
from minitf.model.loss import label_smoothed_cross_entropy

LABEL_SMOOTHING = 0.1
ATTENTION_NAMES = ("self_attn", "multihead_attn")
"""What the model's layers call their attention modules, as torch's do."""

Weights = dict[str, Tensor]


def without_dropout(config: ModelConfig) -> ModelConfig:
    """The same model with every dropout at 0."""
    return dataclasses.replace(config, dropout=0.0, attention_dropout=0.0, activation_dropout=0.0)


def build(
    config: ModelConfig,
    implementation: Implementation | Callable[..., nn.Module],
    vocab_size: int,
    weights: Weights | None = None,
) -> Transformer:
    """A model in float32 on the CPU, with given weights if there are any.

    Raises:
        UserError: the attention cannot be built into the model or cannot load the weights.
    """
    factory = (
        implementation.factory if isinstance(implementation, Implementation) else implementation
    )
    model = build_model(config, factory, vocab_size, PAD)
    if weights is not None:
        try:
            model.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"the two models must share one set of weights, but {reason}"
            ) from error
    return model


def initial_weights(
    config: ModelConfig, reference: Implementation, vocab_size: int, seed: int
) -> Weights:
    """The reference model's initial weights, its biases random instead of zero.

    With zero biases, an implementation that forgets one would not be found.
    """
    torch.manual_seed(seed)
    model = build(config, reference, vocab_size)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name:
                parameter.normal_(std=0.02)
    return copy.deepcopy(model.state_dict())


def oracle_model(
    config: ModelConfig, reference: Implementation, weights: Weights, vocab_size: int
) -> Transformer:
    """The same model in float64 with the oracle's attention, and the reference's extra keys."""
    options = {k: v for k, v in reference.options.items() if k in TORCH_OPTIONS}
    attention = functools.partial(OracleAttention, **options)
    model = build(without_dropout(config), attention, vocab_size).double()
    # The reference may keep buffers of its own: a table of slopes, say.
    model.load_state_dict({name: weights[name].double() for name in model.state_dict()})
    return model


def add_rounding(model: Transformer, rounding: Rounding) -> Transformer:
    """Make an oracle model round everywhere: inside attention, and every other module's output."""

    def rounded(_module: nn.Module, _inputs: object, output: object) -> object:
        return rounding(output) if isinstance(output, Tensor) else output

    for module in model.modules():
        if isinstance(module, OracleAttention):
            module.rounding = rounding
        elif not any(module.children()) and not isinstance(module, nn.Dropout):
            module.register_forward_hook(rounded)
    return model


def truth_and_rounded(
    config: ModelConfig,
    reference: Implementation,
    weights: Weights,
    vocab_size: int,
    dtype: torch.dtype,
    device: torch.device,
    seed: int,
) -> tuple[Transformer, list[Transformer]]:
    """The oracle's model, and the same under random roundings of `dtype`."""

    def new() -> Transformer:
        return oracle_model(config, reference, weights, vocab_size).to(device)

    draws = range(ROUNDING_DRAWS)
    return new(), [add_rounding(new(), RandomRounding(dtype, seed + draw)) for draw in draws]


def in_dtype(weights: Weights, dtype: torch.dtype) -> Weights:
    """The weights in another data type; what is no floating-point number stays."""
    return {k: x.to(dtype) if x.is_floating_point() else x for k, x in weights.items()}


def loss_of(
    model: Transformer, batch: TokenBatch, precision: AbstractContextManager[None] | None = None
) -> tuple[Tensor, Tensor]:
    """Loss per target token, and the logits."""
    src, tgt = batch
    with precision or nullcontext():
        logits = model(src, tgt[:, :-1])
    target = tgt[:, 1:]
    sums = label_smoothed_cross_entropy(logits, target, label_smoothing=LABEL_SMOOTHING, pad_id=PAD)
    return sums.loss / (target != PAD).sum(), logits
