"""Level 2: whole models on one batch: where they part, and whether a layer adds or inherits error.

Outputs are recorded in the order of computation, but for linear layers': recording one would make
another library multiply than in training (`apply_linear`). Free-running, a layer's error is its own
plus what came in; run on the inputs that the reference recorded, it is its own alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from minitf.config.schema import ModelConfig
from minitf.equivalence.implementations import Implementation
from minitf.equivalence.models import (
    ATTENTION_NAMES,
    Weights,
    build,
    in_dtype,
    initial_weights,
    loss_of,
    truth_and_rounded,
    without_dropout,
)
from minitf.equivalence.task import PAD, Task, TokenBatch
from minitf.equivalence.verdict import (
    TensorVerdict,
    Verdict,
    cannot_be_run,
    failed,
    judge,
    raised,
    worst,
)
from minitf.model import Transformer


@dataclass(frozen=True)
class Record:
    """One call of a module: its name (and count, if called again), inputs and output."""

    name: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    output: Tensor


@dataclass(frozen=True)
class ModelResult:
    """The comparison of one batch."""

    free: list[TensorVerdict]
    """Every layer's output, free-running, in order; then logits and loss."""
    local: list[TensorVerdict]
    """Every layer on the reference's inputs."""
    gradients: list[TensorVerdict]
    """Every parameter's gradient."""
    sizes: str
    """The batch, in words."""

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        return worst([t.verdict for t in (*self.free, *self.local, *self.gradients)])

    @property
    def first_divergence(self) -> str:
        """The first output that is not bit-identical, free-running; empty where all are."""
        return next((t.name for t in self.free if t.verdict is not Verdict.bit_identical), "")

    @property
    def adding_layers(self) -> list[str]:
        """The layers that are beyond rounding on the reference's own inputs."""
        return [t.name for t in self.local if t.verdict is Verdict.different]

    @property
    def finding(self) -> str:
        """One line where the models differ, innermost cause first; empty where they do not."""
        for title, tensors in (("on the reference's inputs", self.local), ("", self.free),
                               ("gradient", self.gradients)):  # fmt: skip
            for tensor in tensors:
                if tensor.verdict is Verdict.different:
                    return " ".join(f"{tensor.name} {title}: {tensor.reason}".split())
        return ""


def record(model: Transformer, batch: TokenBatch) -> tuple[list[Record], Tensor]:
    """Run a model and its backward pass; its modules' calls, and the loss."""
    records: list[Record] = []
    counts: dict[str, int] = {}

    def hook(name: str) -> Any:
        def save(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            output = output[0] if isinstance(output, tuple) else output
            if isinstance(output, Tensor):
                counts[name] = counts.get(name, 0) + 1
                call = name if counts[name] == 1 else f"{name}#{counts[name]}"
                records.append(Record(call, args, kwargs, output.detach().clone()))

        return save

    handles = [
        module.register_forward_hook(hook(name), with_kwargs=True)
        for name, module in model.named_modules()
        if name and not _inside_attention(name) and not isinstance(module, nn.Dropout | nn.Linear)
    ]
    model.zero_grad(set_to_none=True)
    try:
        loss, logits = loss_of(model, batch)
        records.append(Record("logits", (), {}, logits.detach()))
        records.append(Record("loss", (), {}, loss.detach()))
        loss.backward()  # type: ignore[no-untyped-call]
    finally:
        for handle in handles:
            handle.remove()
    return records, loss.detach()


def _inside_attention(name: str) -> bool:
    return any(part in ATTENTION_NAMES for part in name.split(".")[:-1])


def run_model_level(
    reference: Implementation,
    candidate: Implementation,
    config: ModelConfig,
    task: Task,
    dtype: torch.dtype,
    device: torch.device,
    seed: int,
    *,
    batch_size: int,
    weights: Weights | None = None,
) -> ModelResult:
    """Compare both models on one batch, without dropout, in `dtype` throughout.

    `weights` are a trained model's; None: initial ones.
    """
    config = without_dropout(config)
    if weights is None:
        weights = initial_weights(config, reference, task.vocab_size, seed)
    weights = in_dtype(weights, dtype)
    (src, tgt), *_ = task.batches(1, batch_size, seed)
    batch = (src.to(device), tgt.to(device))
    models = [
        build(config, side, task.vocab_size, weights).to(device, dtype)
        for side in (reference, candidate)
    ]
    truth, noisy = truth_and_rounded(
        config, reference, weights, task.vocab_size, dtype, device, seed
    )
    try:
        wanted, _ = record(models[0], batch)
    except Exception as error:
        raise cannot_be_run("reference", error) from error
    sizes = f"{len(src)} sentences, source {src.shape[1]}, target {tgt.shape[1] - 1} tokens"
    try:
        received, _ = record(models[1], batch)
    except Exception as error:  # whatever a candidate raises is its finding
        return ModelResult([failed("model", raised(error))], [], [], sizes)
    exact, *rounded = [record(model, batch)[0] for model in (truth, *noisy)]
    # The loss is a sum over the tokens: N roundings at random grow with the root of N.
    eps = torch.finfo(dtype).eps * (tgt != PAD).sum().sqrt()
    rounded = [[*rest, replace(loss, output=loss.output * (1 + eps))] for *rest, loss in rounded]
    return ModelResult(
        free=_judge_records(received, wanted, exact, rounded),
        local=[
            _judge_local(models[1], call, truth, noisy) for call in wanted if _is_layer(call.name)
        ],
        gradients=_judge_gradients(models, truth, noisy),
        sizes=sizes,
    )


def _judge_records(
    received: list[Record], wanted: list[Record], exact: list[Record], rounded: list[list[Record]]
) -> list[TensorVerdict]:
    by_name = [{call.name: call.output for call in calls} for calls in (received, exact, *rounded)]
    candidate, truth, *samples = by_name
    return [
        judge(c.name, candidate[c.name], c.output, truth[c.name], [s[c.name] for s in samples])
        if c.name in candidate
        else failed(c.name, "was not computed by the candidate")
        for c in wanted
    ]


def _is_layer(name: str) -> bool:
    """Attention modules, and the layers they stand in."""
    parts = name.partition("#")[0].split(".")
    return parts[-1] in ATTENTION_NAMES or (len(parts) == 3 and parts[1] == "layers")


@torch.no_grad()
def _judge_local(
    candidate: Transformer, call: Record, truth: Transformer, noisy: Sequence[Transformer]
) -> TensorVerdict:
    """One layer of the candidate on the inputs that the reference's had."""
    name = call.name.partition("#")[0]

    def output(model: Transformer, double: bool) -> Tensor:
        arguments, keywords = (call.arguments, call.keywords)
        if double:
            arguments, keywords = _to_double(arguments), _to_double(keywords)
        result = model.get_submodule(name)(*arguments, **keywords)
        first: Tensor = result[0] if isinstance(result, tuple) else result
        return first

    rounded = [output(model, True) for model in noisy]
    try:
        received = output(candidate, False)
    except Exception as error:  # whatever a candidate raises is its finding
        return failed(call.name, raised(error))
    return judge(call.name, received, call.output, output(truth, True), rounded)


def _to_double(value: Any) -> Any:
    """Nested arguments with every floating-point tensor in float64; shared tensors stay shared."""
    seen: dict[int, Tensor] = {}

    def convert(x: Any) -> Any:
        if isinstance(x, Tensor) and x.is_floating_point():
            return seen.setdefault(id(x), x.detach().double())
        if isinstance(x, tuple):
            return tuple(map(convert, x))
        if isinstance(x, dict):
            return {key: convert(item) for key, item in x.items()}
        return x

    return convert(value)


def _judge_gradients(
    models: Sequence[Transformer], truth: Transformer, noisy: Sequence[Transformer]
) -> list[TensorVerdict]:
    def gradients(model: Transformer) -> dict[str, Tensor]:
        return {
            name: torch.zeros_like(x) if x.grad is None else x.grad
            for name, x in model.named_parameters()
        }

    wanted, received, exact = gradients(models[0]), gradients(models[1]), gradients(truth)
    samples = [gradients(model) for model in noisy]
    return [
        judge(name, received[name], x, exact[name], [sample[name] for sample in samples])
        for name, x in wanted.items()
    ]
