"""Properties that are seen through the weights: for modules with torch's parameter names."""

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from minitf.attention.contract import needs_causal_mask
from minitf.equivalence.oracle import causal_mask, has_torch_names, multi_head_attention
from minitf.equivalence.properties import (
    BATCH,
    EMBED,
    HEAD_DIM,
    HEADS,
    SOURCE,
    TARGET,
    Check,
    NotApplicable,
    Subject,
    Violated,
    require_equal,
    weights_of,
)

Options = dict[str, Any]


def require_names(module: nn.Module) -> None:
    """Whether the parameters have torch's names, packed as here, and there are no others.

    Raises:
        NotApplicable: they have not.
    """
    names = dict(module.named_parameters())
    if not has_torch_names(names) or "in_proj_weight" not in names:
        raise NotApplicable("has other parameters than torch's")


def scale(subject: Subject) -> None:
    """The logarithm of two weights' ratio is their scores' difference over sqrt(head_dim)."""
    module = subject.module()
    require_names(module)
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


def _formula_calls(
    subject: Subject, module: nn.Module
) -> Iterator[tuple[str, tuple[Tensor, Tensor, Tensor], Options, Tensor | None]]:
    """Calls of every kind: name, inputs, keywords, and the mask that is meant by them.

    An implementation may tell self-attention by `query is key`, and a causal call by its hint.
    """
    query, key, value = subject.inputs()
    x = subject.tensor(BATCH, TARGET, EMBED)
    causal = causal_mask(TARGET, TARGET, subject.device)
    kinds = {"distinct inputs": (query, key, value), "cross-attention": (query, key, key),
             "self-attention": (x, x, x)}  # fmt: skip
    for kind, inputs in kinds.items():
        added = subject.tensor(TARGET, inputs[1].shape[1])
        masks: list[tuple[str, Options, Tensor | None]] = [("", {}, None)]
        if inputs[0] is inputs[1]:
            hint = {"is_causal": True}
            masks.append((", causal", hint | {"attn_mask": causal}, causal))
            if not needs_causal_mask(type(module)):
                masks.append((", is_causal alone", hint, causal))
        masks.append((", additive mask", {"attn_mask": added}, added))
        padding = subject.padding()[:, : inputs[1].shape[1]]
        for (name, options, mask), padded in itertools.product(masks, (None, padding)):
            suffix = "" if padded is None else ", padded"
            yield kind + name + suffix, inputs, options | {"key_padding_mask": padded}, mask


def formula(subject: Subject) -> None:
    """Output and weights are the paper's, for all kinds of inputs, masks, and causal calls."""
    module = subject.module()
    require_names(module)
    state = {name: p.detach() for name, p in module.named_parameters()}
    for name, inputs, options, mask in _formula_calls(subject, module):
        true_output, true_weights = multi_head_attention(
            state,
            *inputs,
            num_heads=HEADS,
            attn_mask=mask,
            key_padding_mask=options["key_padding_mask"],
        )
        output, weights = module(*inputs, need_weights=True, average_attn_weights=False, **options)
        if weights is not None:
            require_equal(weights, true_weights, f"weights, {name}")
        require_equal(output, true_output, f"output, {name}")
        output, _ = module(*inputs, need_weights=False, **options)
        require_equal(output, true_output, f"output without weights, {name}")


def large_products(subject: Subject) -> None:
    """Scores of several hundred that come out of query and key give the paper's output."""
    module = subject.module()
    require_names(module)
    state = {name: p.detach() for name, p in module.named_parameters()}
    query, key, value = subject.inputs()
    query, key = 20 * query, 20 * key
    true_output, _ = multi_head_attention(state, query, key, value, num_heads=HEADS)
    for need_weights in (False, True):
        output, _ = module(query, key, value, need_weights=need_weights)
        require_equal(output, true_output, "output for large scores", magnitude=1e3)


def many_keys(subject: Subject) -> None:
    """More keys than a block of any kernel holds (257) give the paper's output and gradients."""
    module = subject.module()
    require_names(module)
    state = {name: p.detach() for name, p in module.named_parameters()}
    source, target = 257, 131
    lengths = torch.tensor([[source], [source - 56]], device=subject.device)
    padding = torch.arange(source, device=subject.device) >= lengths
    key, query = subject.tensor(2, source, EMBED), subject.tensor(2, target, EMBED)
    causal = causal_mask(source, source, subject.device)
    for kind, x, mask in (("cross-attention", query, None), ("causal", key, causal)):
        masks: Options = {"attn_mask": mask, "key_padding_mask": padding}
        hint = {"is_causal": mask is not None, "need_weights": False}
        found = _with_gradients(partial(module, **masks, **hint), x, key)
        truth = _with_gradients(
            partial(multi_head_attention, state, num_heads=HEADS, **masks), x, key
        )
        for name, ours, true in zip(("output", "query", "key"), found, truth, strict=True):
            what = name if name == "output" else f"gradient of the {name}"
            require_equal(ours, true, f"{what}, {kind}, {source} keys", magnitude=8.0)


def mask_gradient(subject: Subject) -> None:
    """An additive attn_mask gets its gradient: a bias that is learnt stands in one."""
    module = subject.module()
    require_names(module)
    state = {name: p.detach() for name, p in module.named_parameters()}
    inputs, bias = subject.inputs(), subject.tensor(TARGET, SOURCE)

    def gradient(attend: Callable[..., tuple[Tensor, Any]]) -> Tensor:
        mask = bias.clone().requires_grad_()
        output, _ = attend(*inputs, attn_mask=mask)
        found = torch.autograd.grad(output.square().sum(), mask, allow_unused=True)[0]
        if found is None:
            raise Violated("no gradient reaches the mask")
        return found

    true = gradient(partial(multi_head_attention, state, num_heads=HEADS))
    for need_weights in (False, True):
        found = gradient(partial(module, need_weights=need_weights))
        require_equal(found, true, "gradient of the mask", magnitude=8.0)


def _with_gradients(
    attend: Callable[..., tuple[Tensor, Any]], query: Tensor, key: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The output with the key as the value too, and the gradients of its squares."""
    k = key.clone().requires_grad_()
    q = k if query is key else query.clone().requires_grad_()
    output, _ = attend(q, k, k)
    by_query, by_key = torch.autograd.grad(output.square().sum(), (q, k))
    return output, by_query, by_key


NAMED_CHECKS: tuple[Check, ...] = (scale, formula, large_products, many_keys, mask_gradient)
