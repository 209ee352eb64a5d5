"""Properties of dropout: of the weights, in training alone."""

import torch

from minitf.equivalence.calls import make_call
from minitf.equivalence.cases import Case
from minitf.equivalence.dropout_probe import dropout_fault, dropped_weights
from minitf.equivalence.named_properties import require_names
from minitf.equivalence.oracle import multi_head_attention
from minitf.equivalence.properties import (
    HEAD_DIM,
    HEADS,
    Check,
    Subject,
    Violated,
    require_equal,
)


def dropout_drops_weights(subject: Subject) -> None:
    """In training each weight is dropped with the given probability, others grow by 1 / (1 - p)."""
    case = Case(inputs="cross", dropout=0.25, lengths=(17, 16), batch=5, heads=(HEADS, HEAD_DIM))
    module = subject.module(dropout=case.dropout).train()
    require_names(module)
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


def dropout_in_training(subject: Subject) -> None:
    """In training dropout drops something, and something else the next time."""
    module, inputs = subject.module(dropout=0.5).train(), subject.inputs()
    for need_weights in (False, True):
        first, second = (module(*inputs, need_weights=need_weights)[0] for _ in range(2))
        if torch.equal(first, second):
            raise Violated("dropout=0.5 in training mode changes nothing from call to call")


def no_dropout_in_eval(subject: Subject) -> None:
    """In eval mode dropout changes nothing, and nothing else is random."""
    inputs = subject.inputs()
    without, _ = subject.module()(*inputs, need_weights=False)
    module = subject.module(dropout=0.5)
    for call in ("first", "second"):  # not seeded alike
        output, _ = module(*inputs, need_weights=False)
        require_equal(output, without, f"output in eval mode with dropout=0.5, {call} call")


DROPOUT_CHECKS: tuple[Check, ...] = (
    dropout_drops_weights,
    dropout_in_training,
    no_dropout_in_eval,
)
