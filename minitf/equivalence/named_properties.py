"""Properties that are seen through the weights: for modules with torch's parameter names."""

import math

import torch
from torch import nn

from minitf.equivalence.calls import make_call
from minitf.equivalence.cases import Case
from minitf.equivalence.dropout_probe import dropout_fault, dropped_weights
from minitf.equivalence.oracle import multi_head_attention
from minitf.equivalence.properties import (
    EMBED,
    HEAD_DIM,
    HEADS,
    Check,
    NotApplicable,
    Subject,
    Violated,
    require_equal,
    weights_of,
)


def _require_names(module: nn.Module) -> None:
    if not {"in_proj_weight", "out_proj.weight"} <= dict(module.named_parameters()).keys():
        raise NotApplicable("has other parameters than torch's")


def scale(subject: Subject) -> None:
    """The logarithm of two weights' ratio is their scores' difference over sqrt(head_dim)."""
    module = subject.module()
    _require_names(module)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.zero_()
            if name == "in_proj_weight":
                parameter.copy_(torch.eye(EMBED).repeat(3, 1))
    query, key = subject.tensor(1, 1, EMBED), subject.tensor(1, 2, EMBED)
    _, weights = weights_of(module, query, key, key)
    for head in range(HEADS):
        part = slice(head * HEAD_DIM, (head + 1) * HEAD_DIM)
        scores = key[0, :, part] @ query[0, 0, part] / math.sqrt(HEAD_DIM)
        measured = weights[0, head, 0].log()
        require_equal(measured[0] - measured[1], scores[0] - scores[1], f"scale of head {head}")


def formula(subject: Subject) -> None:
    """Output and weights are those of the paper's formula, under padding and an additive mask."""
    module = subject.module()
    _require_names(module)
    inputs, padding = subject.inputs(), subject.padding()
    mask = subject.tensor(inputs[0].shape[1], inputs[1].shape[1])
    output, weights = weights_of(module, *inputs, attn_mask=mask, key_padding_mask=padding)
    state = {name: p.detach() for name, p in module.named_parameters()}
    true_output, true_weights = multi_head_attention(
        state, *inputs, num_heads=HEADS, attn_mask=mask, key_padding_mask=padding
    )
    require_equal(weights, true_weights, "weights")
    require_equal(output, true_output, "output")


def dropout_drops_weights(subject: Subject) -> None:
    """In training each weight is dropped with the given probability, others grow by 1 / (1 - p)."""
    case = Case(inputs="cross", dropout=0.25, lengths=(17, 16), batch=5, heads=(HEADS, HEAD_DIM))
    module = subject.module(dropout=case.dropout).train()
    _require_names(module)
    call = make_call(case, torch.float64, subject.device, subject.seed)
    kept = dropped_weights(module, call, subject.seed)
    if fault := dropout_fault(kept, torch.ones_like(kept, dtype=torch.bool), case.dropout):
        raise Violated(fault)
    torch.manual_seed(subject.seed)
    output, _ = module(call.query, call.key, call.value, need_weights=False)
    state = {name: p.detach() for name, p in module.named_parameters()}
    truth, _ = multi_head_attention(
        state, call.query, call.key, call.value, num_heads=HEADS, kept=kept
    )
    require_equal(output, truth, "output with the dropped weights known")


def no_dropout_in_eval(subject: Subject) -> None:
    """In eval mode dropout changes nothing."""
    inputs = subject.inputs()
    without, _ = subject.module()(*inputs, need_weights=False)
    output, _ = subject.module(dropout=0.5)(*inputs, need_weights=False)
    require_equal(output, without, "output in eval mode with dropout=0.5")


NAMED_CHECKS: tuple[Check, ...] = (scale, formula, dropout_drops_weights, no_dropout_in_eval)
