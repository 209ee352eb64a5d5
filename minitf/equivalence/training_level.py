"""Level 3: training in lockstep, and how far apart rounding alone would have driven the runs.

Every run starts from the same weights, sees the same batches and draws from the same random state.
Beside the candidate run the yardsticks:

- `again`: the reference a second time. What it differs by is the machine's noise floor.
- `one`: the reference with one weight moved by one unit in the last place (ULP) at the start.
- `rounded`: the reference rounding otherwise at every step, several times: every weight is moved to
  a neighbouring number, and what goes into attention and comes out of it, forward and backward, by
  up to one ULP of the data type that attention computes in.

Training is chaotic: a difference of one ULP grows until the curves wander about each other. A
correct candidate stays within a few times what the yardsticks have reached by then; a wrong one
leaves at once, or drifts further than chaos explains.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from minitf.config.errors import UserError
from minitf.config.schema import ModelConfig
from minitf.equivalence.dropout_properties import dropout_drops_weights
from minitf.equivalence.implementations import Implementation
from minitf.equivalence.models import (
    ATTENTION_NAMES,
    Weights,
    build,
    initial_weights,
    loss_of,
    without_dropout,
)
from minitf.equivalence.properties import check
from minitf.equivalence.rounding import RandomRounding
from minitf.equivalence.task import Task, TokenBatch
from minitf.equivalence.ulp import perturb, ulp_size
from minitf.equivalence.verdict import Verdict, dtype_name, worst
from minitf.model import Transformer

ENVELOPE_FACTOR = 10.0
"""How many times the yardsticks' largest distance so far a candidate may have."""

ROUNDING_COPIES = 3
GRADIENT_CLIP = 1.0

ENVELOPE_RULE = (
    f"A run is within rounding's envelope if loss, gradient norm and weights stay within "
    f"{ENVELOPE_FACTOR:g} times the largest distance that a reference run reached up to that step "
    f"when its weights and attention's inputs and outputs were moved by one unit in the last place."
)


@dataclass
class Curve:
    """What one run measured at each step."""

    loss: list[float] = field(default_factory=list)
    gradient_norm: list[float] = field(default_factory=list)
    weight_distance: list[float] = field(default_factory=list)
    """Relative to the reference's weights after the same step: |w - w_ref| / |w_ref|."""


MEASURES = ("loss", "gradient_norm", "weight_distance")


@dataclass(frozen=True)
class TrainingResult:
    """Lockstep curves of all runs and their verdict."""

    steps: int
    dropout: float
    """The largest of the model's dropout probabilities; 0: none was on."""
    precision: str
    curves: dict[str, Curve]
    """By run: reference, candidate, again, one, rounded-0, rounded-1, ...; none if it raised."""
    envelopes: dict[str, list[float]]
    """By measure: what rounding explains at each step."""
    verdict: Verdict
    parted_at: int | None
    """The first step, from 1, at which the candidate's bits differ; None: never."""
    outside_at: int | None
    """The first step at which it left rounding's envelope; None: never."""
    finding: str
    machine_noise: float
    """Largest distance in loss of the reference from itself."""
    same_random_state: bool
    dropout_finding: str = ""
    """What the lockstep with dropout found, where this one is the second, without."""


class _Run:
    """One model in training, with a random state of its own."""

    def __init__(
        self, model: Transformer, learning_rate: float, seed: int, generator_seed: int | None
    ) -> None:
        self.model = model.train()
        self.device = next(model.parameters()).device
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=learning_rate, betas=(0.9, 0.98), eps=1e-9
        )
        self.noise = (
            None if generator_seed is None else torch.Generator().manual_seed(generator_seed)
        )
        torch.manual_seed(seed)
        self.random_state = self._get_random_state()
        self.curve = Curve()

    def _get_random_state(self) -> list[Tensor]:
        states = [torch.get_rng_state()]
        if self.device.type == "cuda":
            states.append(torch.cuda.get_rng_state(self.device))
        return states

    def _set_random_state(self) -> None:
        torch.set_rng_state(self.random_state[0])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(self.random_state[1], self.device)

    @torch.no_grad()
    def perturb_all(self) -> None:
        """Move every weight to a neighbouring number."""
        assert self.noise is not None
        for parameter in self.model.parameters():
            parameter.copy_(perturb(parameter, self.noise))

    @torch.no_grad()
    def perturb_one(self) -> None:
        """Move one weight, the first of the last matrix, to a neighbouring number."""
        assert self.noise is not None
        weight = [p for p in self.model.parameters() if p.dim() == 2][-1][:1, :1]
        weight.copy_(perturb(weight, self.noise))

    def step(
        self, batch: TokenBatch, precision: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """One update; the random state continues from this run's last step."""
        self._set_random_state()
        loss, _ = loss_of(self.model, batch, precision())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRADIENT_CLIP)
        self.optimizer.step()
        self.random_state = self._get_random_state()
        self.curve.loss.append(float(loss.detach()))
        self.curve.gradient_norm.append(float(norm))

    @torch.no_grad()
    def measure_distance(self, reference: "_Run") -> None:
        """Append the relative distance of this run's weights from the reference's."""
        mine, its = (
            torch.nn.utils.parameters_to_vector(run.model.parameters()).double()
            for run in (self, reference)
        )
        self.curve.weight_distance.append(float((mine - its).norm() / its.norm()))


def run_training_level(
    reference: Implementation,
    candidate: Implementation,
    config: ModelConfig,
    task: Task,
    dtype: torch.dtype,
    device: torch.device,
    seed: int,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float = 1e-3,
    weights: Weights | None = None,
) -> TrainingResult:
    """Train all runs in lockstep.

    Args:
        reference: the implementation that the yardsticks are made from.
        candidate: the one that is judged.
        config: the model, with its dropout.
        task: the data.
        dtype: float32 or float64 throughout; bfloat16 and float16 as autocast over float32 weights.
        device: where.
        seed: of weights, batches and dropout.
        steps: updates.
        batch_size: sentences in a batch.
        learning_rate: of AdamW, after a linear warm-up over the first tenth.
        weights: where all start, a trained model's; None: initial ones.

    Returns:
        The result; where it is outside the envelope and the model has dropout, that of a second
        lockstep without: an implementation may draw other dropout masks without being wrong. Its
        attention dropout, if that is on, must then be right by itself.

    Raises:
        UserError: the reference cannot be trained.
    """
    if weights is None:
        weights = initial_weights(config, reference, task.vocab_size, seed)
    batches = [
        (src.to(device), tgt.to(device)) for src, tgt in task.batches(steps, batch_size, seed)
    ]
    runs = _start_runs(
        reference, candidate, config, task, weights, dtype, device, seed, learning_rate
    )
    precision = _precision(dtype, device)
    dropout = max(config.dropout, config.attention_dropout, config.activation_dropout)
    for number, batch in enumerate(batches):
        for name, run in runs.items():
            for group in run.optimizer.param_groups:
                group["lr"] = learning_rate * min(1.0, (number + 1) / max(1, steps // 10))
            if name.startswith("rounded"):
                run.perturb_all()
            try:
                run.step(batch, precision)
            except Exception as error:  # whatever a candidate raises is its finding
                what = f"{type(error).__name__} at step {number + 1}: {_one_line(error)}"
                if name == "candidate":
                    return _raised(what, steps, dropout, dtype)
                raise UserError(f"the reference cannot be trained: {what}") from error
            run.measure_distance(runs["reference"])
    result = _judge(runs, steps, dropout, dtype)
    if result.verdict is not Verdict.different or not dropout:
        return result
    if config.attention_dropout and (fault := _dropout_fault(candidate, device, seed)):
        return replace(result, finding=f"{result.finding}; attention dropout: {fault}")
    plain = run_training_level(
        reference, candidate, without_dropout(config), task, dtype, device, seed,
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, weights=weights,
    )  # fmt: skip
    # Never "bit-identical": what was asked for had dropout.
    verdict = worst([plain.verdict, Verdict.within_rounding])
    return replace(plain, verdict=verdict, dropout_finding=result.finding)


def _dropout_fault(candidate: Implementation, device: torch.device, seed: int) -> str:
    """What is wrong with the candidate's own dropout; empty where nothing is.

    What cannot be seen through torch's parameter names is a fault too: it would go unseen.
    """
    return check(candidate, dropout_drops_weights, device, seed).finding


def _raised(what: str, steps: int, dropout: float, dtype: torch.dtype) -> TrainingResult:
    """The result where the candidate raised: it has no curve."""
    return TrainingResult(
        steps=steps,
        dropout=dropout,
        precision=_precision_name(dtype),
        curves={},
        envelopes={},
        verdict=Verdict.different,
        parted_at=None,
        outside_at=None,
        finding=f"raised {what}",
        machine_noise=0.0,
        same_random_state=True,
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _start_runs(
    reference: Implementation,
    candidate: Implementation,
    config: ModelConfig,
    task: Task,
    weights: Weights,
    dtype: torch.dtype,
    device: torch.device,
    seed: int,
    learning_rate: float,
) -> dict[str, _Run]:
    storage = torch.float64 if dtype == torch.float64 else torch.float32
    sides = {"reference": (reference, None), "candidate": (candidate, None),
             "again": (reference, None), "one": (reference, seed)}  # fmt: skip
    copies = [f"rounded-{copy}" for copy in range(ROUNDING_COPIES)]
    sides |= {name: (reference, seed + number) for number, name in enumerate(copies)}
    runs = {
        name: _Run(
            build(config, side, task.vocab_size, weights).to(device, storage),
            learning_rate, seed, noise,
        )
        for name, (side, noise) in sides.items()
    }  # fmt: skip
    runs["one"].perturb_one()
    for number, name in enumerate(copies):
        _round_attention(runs[name].model, RandomRounding(dtype, seed + number))
    return runs


def _round_attention(model: Transformer, rounding: RandomRounding) -> None:
    """Move the inputs and outputs of every attention, and their gradients."""

    def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        moved = {id(x): rounding(x) for x in inputs}  # one tensor given twice stays one
        return tuple(moved[id(x)] for x in inputs)

    def after(_: nn.Module, __: object, results: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        return rounding(results[0]), results[1]

    for name, module in model.named_modules():
        if name.endswith(ATTENTION_NAMES):
            module.register_forward_pre_hook(before)
            module.register_forward_hook(after)


def _precision(
    dtype: torch.dtype, device: torch.device
) -> Callable[[], AbstractContextManager[None]]:
    if dtype in (torch.bfloat16, torch.float16):
        return lambda: torch.autocast(device.type, dtype)
    return lambda: nullcontext()


def _judge(runs: dict[str, _Run], steps: int, dropout: float, dtype: torch.dtype) -> TrainingResult:
    curves = {name: run.curve for name, run in runs.items()}
    differs = [
        any(d != 0 for d in at)
        for at in zip(*(distance(curves, "candidate", m) for m in MEASURES), strict=True)
    ]
    parted = differs.index(True) + 1 if any(differs) else None
    storage = torch.float64 if dtype == torch.float64 else torch.float32
    envelopes = {measure: envelope(curves, measure, storage) for measure in MEASURES}
    outside, finding = None, ""
    for measure in MEASURES:
        found = distance(curves, "candidate", measure)
        allowed = envelopes[measure]
        # "Not within" instead of "beyond": NaN is outside too.
        out = [not f <= a for f, a in zip(found, allowed, strict=True)]
        step = out.index(True) + 1 if any(out) else None
        if step is not None and (outside is None or step < outside):
            outside = step
            finding = (
                f"{measure.replace('_', ' ')} at step {step} is {found[step - 1]:.2g} from the "
                f"reference's, rounding explains {allowed[step - 1]:.2g}"
            )
    verdict = Verdict.within_rounding if parted else Verdict.bit_identical
    states = [run.random_state for run in (runs["reference"], runs["candidate"])]
    return TrainingResult(
        steps=steps,
        dropout=dropout,
        precision=_precision_name(dtype),
        curves=curves,
        envelopes=envelopes,
        verdict=Verdict.different if outside else verdict,
        parted_at=parted,
        outside_at=outside,
        finding=finding,
        machine_noise=max(distance(curves, "again", "loss"), default=0.0),
        same_random_state=all(torch.equal(a, b) for a, b in zip(*states, strict=True)),
    )


def _precision_name(dtype: torch.dtype) -> str:
    name = dtype_name(dtype)
    return f"{name} autocast" if dtype in (torch.bfloat16, torch.float16) else name


def distance(curves: dict[str, Curve], run: str, measure: str) -> list[float]:
    """How far a run is from the reference at each step."""
    if measure == "weight_distance":
        return list(curves[run].weight_distance)
    mine, its = getattr(curves[run], measure), getattr(curves["reference"], measure)
    return [abs(a - b) for a, b in zip(mine, its, strict=True)]


def envelope(curves: dict[str, Curve], measure: str, storage: torch.dtype) -> list[float]:
    """What rounding explains at each step: a multiple of the yardsticks' largest distance yet.

    Loss and gradient norm are numbers of `storage`, so one unit in their last place is the least.
    """
    yardsticks = [
        distance(curves, name, measure)
        for name in curves
        if name in ("again", "one") or name.startswith("rounded")
    ]
    largest, allowed = 0.0, []
    for step, found in enumerate(zip(*yardsticks, strict=True)):
        value = abs(getattr(curves["reference"], measure)[step])
        unit = ulp_size(value, storage) if math.isfinite(value) and value > 0 else 0.0
        largest = max(largest, unit, *found)
        allowed.append(ENVELOPE_FACTOR * largest)
    return allowed
