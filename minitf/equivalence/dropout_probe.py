"""See which attention weights a module drops, from outside.

Dropout draws from a random state, so two correct implementations may drop different weights, and
neither equals an oracle that drops none. But which weights are dropped can be read off a module:
with the query and key projections zero, the value projection the identity and one-hot values, each
output element *is* one attention weight. The same random state then drops the same weights, and
the oracle can be given that mask.
"""

import copy
import dataclasses
import math

import torch
from torch import Tensor, nn

from minitf.equivalence.calls import Call, run_module


@torch.no_grad()
def dropped_weights(module: nn.Module, call: Call, seed: int) -> Tensor:
    """Dropout's mask as factors of the weights, for the random state `seed`.

    Args:
        module: in training mode, with torch's parameter names; left as it is.
        call: the shapes, masks and layout.
        seed: as given to `run_module`.

    Returns:
        (B, H, T, S') float64: 0 where the weight was dropped, 1 / (1 - p) elsewhere; NaN where the
        module gives no number.
    """
    case = call.case
    heads, head_dim = case.heads
    source = case.source + case.bias_kv
    probe = _transparent(copy.deepcopy(module))
    seen = []
    width = max(head_dim - 1, 1)
    for start in range(0, source, width):
        one_hot = _one_hot_values(source, start, head_dim, heads)  # (S', E)
        if case.bias_kv:
            probe.get_parameter("bias_v").copy_(one_hot[-1])
        probe_call = _with_values(call, one_hot[: case.source])
        output = run_module(probe, probe_call, seed)[0]["output"]
        if case.batch == 0:
            output = output.unsqueeze(0)
        elif not case.batch_first:
            output = output.transpose(0, 1)
        per_head = output.view(*output.shape[:-1], heads, head_dim).transpose(1, 2)  # (B, H, T, D)
        seen.append(per_head[..., : min(width, source - start)])
    weights = torch.cat(seen, dim=-1).double()
    kept = (weights != 0).double() / (1 - case.dropout)
    return torch.where(weights.isfinite(), kept, torch.nan)


def _transparent(module: nn.Module) -> nn.Module:
    """Make the scores zero and the value and output projections the identity."""
    for name, parameter in module.named_parameters():
        if parameter.dim() == 0:
            continue  # a factor: zero would hide everything
        parameter.zero_()
        if name == "in_proj_weight":
            embed_dim = parameter.shape[-1]
            parameter[2 * embed_dim :] = torch.eye(embed_dim)
        elif name in ("v_proj_weight", "out_proj.weight"):
            parameter.copy_(torch.eye(*parameter.shape))
    return module


def _one_hot_values(source: int, start: int, head_dim: int, heads: int) -> Tensor:
    """(S', E): in every head, key start + d has a one in dimension d, the other keys have none.

    All have a one in the last dimension, which is not looked at: some attentions divide by a norm.
    """
    values = torch.zeros(source, heads, head_dim)
    if head_dim > 1:
        values[..., -1] = 1.0
    for key in range(start, min(start + max(head_dim - 1, 1), source)):
        values[key, :, key - start] = 1.0
    return values.flatten(1)


def _with_values(call: Call, values: Tensor) -> Call:
    """The call with these values in every sentence, inputs shared as before."""
    case = dataclasses.replace(call.case, mode="train")

    def filled(like: Tensor, rows: Tensor) -> Tensor:
        x = torch.zeros(like.shape, dtype=like.dtype, device=like.device)
        rows = torch.nn.functional.pad(rows, (0, like.shape[-1] - rows.shape[-1]))
        if case.batch and not case.batch_first:
            rows = rows.unsqueeze(1)
        return x.copy_(rows)

    if call.value is call.query:
        query = key = value = filled(call.query, values)
    elif call.value is call.key:
        query, key = call.query, filled(call.key, values)
        value = key
    else:
        query, key, value = call.query, call.key, filled(call.value, values)
    return dataclasses.replace(call, case=case, query=query, key=key, value=value)


def dropout_fault(kept: Tensor, visible: Tensor, probability: float) -> str:
    """What is wrong with a dropout mask as a random draw, or nothing.

    Args:
        kept: (B, H, T, S') factors from `dropped_weights`.
        visible: the same shape; True where the weight is not masked.
        probability: of dropping a weight.
    """
    if not bool(kept[visible].isfinite().all()):
        return "dropped weights cannot be seen: with projections of zero the output is NaN"
    total = int(visible.sum())
    dropped = int(((kept == 0) & visible).sum())
    deviation = math.sqrt(total * probability * (1 - probability))
    if abs(dropped - total * probability) > 5 * deviation + 1:
        return f"{dropped} of {total} weights dropped, dropout is {probability:g}"
    for axis, name in enumerate(("sentence", "head", "query", "key")):
        if _shared_along(kept, visible, axis, probability):
            return f"dropped weights are not drawn anew for every {name}"
    return ""


def _shared_along(kept: Tensor, visible: Tensor, axis: int, probability: float) -> bool:
    """Whether neighbours along an axis agree more often than independent draws would.

    Pairs that share no element are compared; of two draws p² + (1 - p)² agree.
    """
    even = torch.arange(kept.shape[axis] // 2, device=kept.device) * 2
    odd = even + 1
    both = visible.index_select(axis, even) & visible.index_select(axis, odd)
    agree = (kept.index_select(axis, even) == kept.index_select(axis, odd)) & both
    number, expected = int(both.sum()), probability**2 + (1 - probability) ** 2
    deviation = math.sqrt(number * expected * (1 - expected))
    return int(agree.sum()) > number * expected + 5 * deviation + 1
