"""Properties of masks: the future, keys that attn_mask forbids, padding, rows without a key."""

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from minitf.attention.contract import needs_causal_mask
from minitf.equivalence.oracle import causal_mask
from minitf.equivalence.properties import (
    BATCH,
    EMBED,
    SOURCE,
    TARGET,
    Check,
    Note,
    Subject,
    Violated,
)


def _causal_jacobians(subject: Subject) -> Iterator[tuple[int, Tensor]]:
    """Each output position t, and its Jacobian's product (B, T, E) by the inputs.

    With the causal mask; and by is_causal alone where the class says that it needs no mask.
    """
    module = subject.module()
    masks: list[Tensor | None] = [causal_mask(TARGET, TARGET, subject.device)]
    if not needs_causal_mask(type(module)):
        masks.append(None)
    for mask, need_weights in itertools.product(masks, (False, True)):
        x = subject.tensor(BATCH, TARGET, EMBED).requires_grad_()
        output, _ = module(x, x, x, attn_mask=mask, is_causal=True, need_weights=need_weights)
        for t in range(TARGET):
            cotangent = subject.tensor(BATCH, EMBED)
            product = (output[:, t] * cotangent).sum()
            (jacobian,) = torch.autograd.grad(product, x, retain_graph=True)
            yield t, jacobian


def no_future_leak(subject: Subject) -> None:
    """In a causal call the Jacobian of output t by inputs later than t is exactly zero."""
    for t, jacobian in _causal_jacobians(subject):
        if bool((jacobian[:, t + 1 :] != 0).any()):
            raise Violated(f"output {t} depends on later inputs")


def whole_past(subject: Subject) -> None:
    """In a causal call output t depends on every input up to t."""
    for t, jacobian in _causal_jacobians(subject):
        seen = (jacobian[:, : t + 1] != 0).any(-1).all(0)
        if not bool(seen.all()):
            blind = int((~seen).nonzero()[0])
            raise Violated(f"output {t} does not depend on input {blind}")


def attn_mask_is_obeyed(subject: Subject) -> None:
    """What stands at keys that attn_mask forbids a query changes no bit of its output."""
    module = subject.module()
    query, key, value = subject.inputs()
    x = subject.tensor(BATCH, TARGET, EMBED)
    for name, inputs, additive in (("boolean", (query, key, value), False),
                                   ("additive", (query, key, value), True),
                                   ("boolean self-attention", (x, x, x), False)):  # fmt: skip
        source = inputs[1].shape[1]
        mask = torch.zeros(TARGET, source, dtype=torch.bool, device=subject.device)
        mask[:3, source - 2 :] = True  # three queries may not see the last two keys
        other = [y.clone() for y in inputs[1:]]
        for y in other:
            y[:, source - 2 :] = 7.0
        poisoned = (other[0],) * 3 if inputs[0] is inputs[1] else (inputs[0], *other)
        given = torch.zeros_like(mask, dtype=x.dtype).masked_fill(mask, -torch.inf)
        options = {"attn_mask": given if additive else mask}
        for need_weights in (False, True):
            clean, _ = module(*inputs, need_weights=need_weights, **options)
            output, _ = module(*poisoned, need_weights=need_weights, **options)
            if not torch.equal(clean[:, :3], output[:, :3]):
                raise Violated(f"{name} mask: what it forbids changes the output")


def padding_content(subject: Subject) -> None:
    """What stands at padded keys changes no bit, and gets a gradient of exactly zero."""
    module, (query, key, value) = subject.module(), subject.inputs()
    padding = subject.padding()
    for need_weights in (False, True):
        options = {"key_padding_mask": padding, "need_weights": need_weights}
        clean, _ = module(query, key, value, **options)
        poisoned = [x.masked_fill(padding[..., None], 1e30).requires_grad_() for x in (key, value)]
        output, _ = module(query, *poisoned, **options)
        if not torch.equal(clean, output):
            largest = float((clean - output).detach().abs().nan_to_num(torch.inf).max())
            raise Violated(f"1e30 at padding changes the output by {largest:.2g}")
        (output * subject.tensor(*output.shape)).sum().backward()  # type: ignore[no-untyped-call]
        for name, x in zip(("keys", "values"), poisoned, strict=True):
            if x.grad is not None and bool((x.grad[padding] != 0).any()):  # may not be read
                raise Violated(f"padded {name} get a gradient")


def padding_poison(subject: Subject) -> None:
    """NaN and inf at padded keys stay there."""
    module, (query, key, value) = subject.module(), subject.inputs()
    padding = subject.padding()
    spread = []
    for poison in (torch.nan, torch.inf):
        poisoned = [x.masked_fill(padding[..., None], poison) for x in (key, value)]
        output, _ = module(query, *poisoned, key_padding_mask=padding, need_weights=False)
        if not bool(output.isfinite().all()):
            spread.append(str(poison))
    if spread:
        raise Note(f"{' and '.join(spread)} at padding spread, for 0 x {spread[0]} is NaN: "
                   f"keep padding finite")  # fmt: skip


def fully_masked_queries(subject: Subject) -> None:
    """What a query gives that may see no key."""
    module, inputs = subject.module(), subject.inputs()
    mask = torch.zeros(TARGET, SOURCE, dtype=torch.bool, device=subject.device)
    mask[2] = True
    results = []
    for need_weights in (False, True):
        output = module(*inputs, attn_mask=mask, need_weights=need_weights)[0][:, 2]
        finite = bool(output.isfinite().all())
        zero = finite and bool((output == 0).all())
        results.append("zeros" if zero else "finite numbers" if finite else "NaN")
    raise Note(f"gives {results[0]}, and {results[1]} where weights are wanted")


MASK_CHECKS: tuple[Check, ...] = (
    no_future_leak,
    whole_past,
    attn_mask_is_obeyed,
    padding_content,
    padding_poison,
    fully_masked_queries,
)
