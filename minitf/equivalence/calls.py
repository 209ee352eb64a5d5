"""Build a case's modules and inputs, and collect what a call of each implementation gives."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minitf.equivalence.cases import Case
from minitf.equivalence.implementations import Implementation
from minitf.equivalence.oracle import causal_mask, multi_head_attention
from minitf.equivalence.rounding import EXACT, Rounding

Results = dict[str, Tensor]
"""Named tensors: output, weights, and grad.NAME of each input and parameter."""


class InputChangedError(Exception):
    """A module wrote to what it was given."""


@dataclass(frozen=True)
class Call:
    """The inputs of one case, in the case's batch order, layout and data type."""

    case: Case
    query: Tensor
    key: Tensor
    value: Tensor
    masks: dict[str, Any]
    output_gradient: Tensor
    weights_gradient: Tensor
    """What flows back into the output and into the weights, where gradients are taken."""

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Fresh leaves; shared between query, key and value as the case says."""
        grad = self.case.mode != "inference"
        query = _leaf(self.query, grad)
        key = query if self.key is self.query else _leaf(self.key, grad)
        value = key if self.value is self.key else _leaf(self.value, grad)
        return query, key, value


def _leaf(x: Tensor, requires_grad: bool) -> Tensor:
    """A leaf with the same values and strides."""
    return x.detach().requires_grad_(requires_grad)


def build_module(
    implementation: Implementation, case: Case, dtype: torch.dtype, device: torch.device
) -> nn.Module:
    """The module of a case, in the case's mode, with its own initial weights."""
    module = implementation(
        case.embed_dim,
        case.heads[0],
        dropout=case.dropout,
        batch_first=case.batch_first,
        dtype=dtype,
        device=device,
        **case.options,
    )
    return module.train(case.mode == "train")


def randomize(module: nn.Module, seed: int) -> None:
    """Give every parameter random values: biases start at zero, where a lost one would not show."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            # Weights keep the size of the projection's input; 1.5 makes the softmax peak.
            scale = 1.5 / parameter.shape[-1] ** 0.5 if parameter.dim() == 2 else 0.5
            parameter.copy_(noise * scale)


def make_call(case: Case, dtype: torch.dtype, device: torch.device, seed: int) -> Call:
    """Random inputs of a case."""
    generator = torch.Generator().manual_seed(seed)
    batch, embed = case.batch or 1, case.embed_dim
    widths = (embed + 2, embed + 5) if case.inputs == "kdim_vdim" else (embed, embed)

    def tensor(length: int, width: int) -> Tensor:
        rows = 1 if case.layout == "expanded" else batch
        step = 2 if case.layout == "strided" else 1
        shape = (rows, length, width * step) if case.batch_first else (length, rows, width * step)
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        x = x.to(dtype).to(device)[..., ::step]
        if case.layout == "expanded":
            x = x.expand(*((batch, -1, -1) if case.batch_first else (-1, batch, -1)))
        return x.squeeze(0 if case.batch_first else 1) if case.batch == 0 else x

    query = tensor(case.target, embed)
    key = query if case.inputs == "self" else tensor(case.source, widths[0])
    value = tensor(case.source, widths[1]) if case.inputs in ("distinct", "kdim_vdim") else key
    source = case.source + case.bias_kv + case.zero_attn
    weight_heads = () if case.weights == "averaged" else (case.heads[0],)
    weight_batch = () if case.batch == 0 else (batch,)
    output_shape = (*query.shape[:-1], embed)
    return Call(
        case,
        query,
        key,
        value,
        _masks(case, generator, dtype, device),
        torch.randn(output_shape, generator=generator).to(device, dtype),
        torch.randn((*weight_batch, *weight_heads, case.target, source), generator=generator).to(
            device, dtype
        ),
    )


def _masks(
    case: Case, generator: torch.Generator, dtype: torch.dtype, device: torch.device
) -> dict[str, Any]:
    """The masks; key 0 stays visible unless a row is to see none."""
    batch, target, source = case.batch or 1, case.target, case.source
    masks: dict[str, Any] = {}
    by_attn_mask = case.fully_masked and case.attn_mask not in ("none", "causal")
    if case.attn_mask == "causal":
        masks.update(attn_mask=causal_mask(target, source).to(device), is_causal=True)
    elif case.attn_mask != "none":
        rows = (batch * case.heads[0],) if case.attn_mask.endswith("per_head") else ()
        blocked = torch.rand((*rows, target, source), generator=generator) < 0.4
        blocked[..., 0] = False
        if by_attn_mask:
            blocked[..., target // 2, :] = True
        masks["attn_mask"] = _as_kind(case.attn_mask, blocked, generator, dtype, device)
    if case.key_padding != "none":
        lengths = torch.randint(1, source + 1, (batch,), generator=generator)
        blocked = torch.arange(source) >= lengths[:, None]
        if case.fully_masked and not by_attn_mask:
            blocked[-1] = True
        mask = _as_kind(case.key_padding, blocked, generator, dtype, device)
        masks["key_padding_mask"] = mask[0] if case.batch == 0 else mask
    return masks


def _as_kind(
    kind: str, blocked: Tensor, generator: torch.Generator, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """A boolean mask, or an additive one: -inf where blocked, a random number elsewhere."""
    if kind.startswith("bool"):
        return blocked.to(device)
    addend = torch.randn(blocked.shape, generator=generator).masked_fill(blocked, -torch.inf)
    return addend.to(device, dtype)


def run_module(module: nn.Module, call: Call, seed: int) -> tuple[Results, Tensor]:
    """Call a module and take gradients.

    Args:
        module: the implementation, with the case's weights, in the case's mode.
        call: the inputs.
        seed: of the random state that dropout draws from.

    Returns:
        The results, and the random state afterwards.

    Raises:
        InputChangedError: the module wrote to an input or a mask, which is as before again.
    """
    case = call.case
    query, key, value = call.inputs()
    module.zero_grad(set_to_none=True)
    given = [x for x in (query, key, value, *call.masks.values()) if isinstance(x, Tensor)]
    copies = [x.detach().clone() for x in given]
    torch.manual_seed(seed)
    with warnings.catch_warnings(), torch.set_grad_enabled(case.mode != "inference"):
        warnings.simplefilter("ignore")  # torch warns of mixed mask kinds, which are allowed
        output, weights = module(
            query,
            key,
            value,
            need_weights=case.weights != "none",
            average_attn_weights=case.weights == "averaged",
            **call.masks,
        )
        on_gpu = output.is_cuda
        state = torch.cuda.get_rng_state(output.device) if on_gpu else torch.get_rng_state()
        results = {"output": output.detach()}
        if weights is not None:
            results["weights"] = weights.detach()
        if case.mode != "inference":
            _backward(call, output, weights)
            results |= _gradients(query, key, value, dict(module.named_parameters()))
    for x, copy in zip(given, copies, strict=True):
        if not torch.equal(x.detach(), copy):
            with torch.no_grad():
                x.copy_(copy)  # whoever is called next must see what was meant
            raise InputChangedError("an input or a mask was changed in place")
    return results, state


def _backward(call: Call, output: Tensor, weights: Tensor | None) -> None:
    tensors, gradients = [output], [call.output_gradient.to(output.dtype)]
    if weights is not None and weights.requires_grad:
        tensors.append(weights)
        gradients.append(call.weights_gradient.to(weights.dtype))
    torch.autograd.backward(tensors, gradients)


def _gradients(query: Tensor, key: Tensor, value: Tensor, state: Mapping[str, Tensor]) -> Results:
    tensors = {"query": query}
    if key is not query:
        tensors["key"] = key
    if value is not key:
        tensors["value"] = value
    tensors |= state
    # No gradient at all is the gradient zero: some formulas never touch a tensor that others do.
    return {
        f"grad.{name}": (torch.zeros_like(x) if x.grad is None else x.grad).detach().clone()
        for name, x in tensors.items()
    }


def run_oracle(
    state: Mapping[str, Tensor],
    call: Call,
    rounding: Rounding = EXACT,
    kept: Tensor | None = None,
    blind_zero: bool = True,
) -> Results:
    """The same results from the oracle, in float64; see `multi_head_attention` for the options."""
    case = call.case
    parameters = {
        name: x.detach().double().requires_grad_(case.mode != "inference")
        for name, x in state.items()
    }
    query = call.query.detach().double().requires_grad_(case.mode != "inference")
    key = query if call.key is call.query else call.key.detach().double().requires_grad_()
    value = key if call.value is call.key else call.value.detach().double().requires_grad_()

    def batched(x: Tensor) -> Tensor:
        if case.batch == 0:
            return x.unsqueeze(0)
        return x if case.batch_first else x.transpose(0, 1)

    output, weights = multi_head_attention(
        parameters,
        batched(query),
        batched(key),
        batched(value),
        num_heads=case.heads[0],
        attn_mask=call.masks.get("attn_mask"),
        key_padding_mask=call.masks.get("key_padding_mask"),
        add_zero_attn=case.zero_attn,
        kept=kept,
        blind_zero=blind_zero,
        rounding=rounding,
    )
    if case.weights == "averaged":
        weights = rounding(weights.mean(1))
    if case.batch == 0:
        output, weights = output[0], weights[0]
    elif not case.batch_first:
        output = output.transpose(0, 1)
    results = {"output": output.detach()}
    if case.weights != "none":
        results["weights"] = weights.detach()
    if case.mode != "inference":
        loss = (output * call.output_gradient.double()).sum()
        if case.weights != "none":
            loss = loss + (weights * call.weights_gradient.double()).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        results |= _gradients(query, key, value, parameters)
    return results
