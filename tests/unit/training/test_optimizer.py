"""Optimiser groups and learning-rate schedules, against values worked out by hand."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import nn

from minitf.config import UserError
from minitf.config.schema import OptimizerConfig, OptimizerKind, ScheduleConfig, ScheduleKind
from minitf.training.optimizer import (
    build_optimizer,
    build_schedule,
    learning_rate_ratio,
    parameter_groups,
    set_options,
)


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.linear = nn.Linear(5, 3)
        self.norm = nn.LayerNorm(3)
        self.tied = nn.Linear(5, 7, bias=False)
        self.tied.weight = self.embedding.weight


def test_only_weight_matrices_decay_and_each_parameter_stands_once() -> None:
    model = _Model()
    decayed, free = parameter_groups(model, 0.1)
    assert [id(p) for p in decayed["params"]] == [id(model.linear.weight)]
    assert {id(p) for p in free["params"]} == {
        id(p)
        for p in (model.embedding.weight, model.linear.bias, model.norm.weight, model.norm.bias)
    }
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)


def test_a_row_or_a_number_for_each_head_is_no_matrix() -> None:
    model = nn.Module()
    model.bias_k = nn.Parameter(torch.ones(1, 1, 7))
    model.temperature = nn.Parameter(torch.ones(3, 1, 1))
    model.stacked = nn.Parameter(torch.ones(1, 3, 5))
    decayed, free = parameter_groups(model, 0.1)
    assert [id(p) for p in decayed["params"]] == [id(model.stacked)]
    assert [id(p) for p in free["params"]] == [id(model.bias_k), id(model.temperature)]


@pytest.mark.parametrize("kind", list(OptimizerKind))
def test_options_reach_the_optimizer(kind: OptimizerKind) -> None:
    config = OptimizerConfig(name=kind, lr=0.3, betas=(0.7, 0.8), eps=1e-5, weight_decay=0.2)
    optimizer = build_optimizer(_Model(), config, fused=False)
    assert type(optimizer) is {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind.value]
    group = optimizer.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (
        0.3,
        (0.7, 0.8),
        1e-5,
        0.2,
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0.0}, "optimizer.lr must be above 0 and finite; got 0.0"),
        ({"lr": -1.0}, "optimizer.lr must be above 0 and finite; got -1.0"),
        ({"betas": (0.9,)}, r"optimizer.betas must be two numbers in \[0, 1\); got \[0.9\]"),
        ({"betas": (0.9, 1.0)}, "optimizer.betas must be two numbers"),
        ({"weight_decay": -0.1}, "optimizer.weight_decay must be at least 0; got -0.1"),
        ({"eps": 0.0}, "optimizer.eps must be above 0 and finite; got 0.0"),
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_optimizer(_Model(), OptimizerConfig(**options), fused=False)  # type: ignore[arg-type]


def _ratios(config: ScheduleConfig, total: float, updates: list[int]) -> list[float]:
    return [learning_rate_ratio(update, config, total) for update in updates]


def test_inverse_sqrt_is_the_papers_up_to_its_peak() -> None:
    # Vaswani et al. 2017, equation 3, over d_model ** -0.5, divided by its value at the peak.
    warmup = 13
    paper = [min(step**-0.5, step * warmup**-1.5) for step in range(1, 101)]
    config = ScheduleConfig(name=ScheduleKind.inverse_sqrt, warmup_steps=warmup)
    expected = [value / max(paper) for value in paper]
    assert _ratios(config, math.inf, list(range(100))) == pytest.approx(expected, rel=1e-12)


def test_cosine_goes_from_one_to_the_minimum() -> None:
    config = ScheduleConfig(name=ScheduleKind.cosine, warmup_steps=10, min_ratio=0.2)
    found = _ratios(config, 110, [0, 9, 34, 59, 109, 500])
    quarter = 0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2
    assert found == pytest.approx([0.1, 1.0, quarter, 0.6, 0.2, 0.2])


def test_warmup_stable_decay_decays_at_the_end() -> None:
    config = ScheduleConfig(
        name=ScheduleKind.warmup_stable_decay, warmup_steps=4, decay_steps=10, min_ratio=0.5
    )
    found = _ratios(config, 100, [0, 3, 50, 89, 94, 99, 200])
    assert found == pytest.approx([0.25, 1.0, 1.0, 1.0, 0.75, 0.5, 0.5])


def test_a_decay_longer_than_what_follows_the_warm_up_begins_with_it() -> None:
    config = ScheduleConfig(ScheduleKind.warmup_stable_decay, warmup_steps=400, decay_steps=500)
    ratios = [learning_rate_ratio(update, config, 500) for update in range(500)]
    steps = [abs(a - b) for a, b in itertools.pairwise(ratios)]
    assert max(steps) == pytest.approx(0.01)
    assert ratios[399] == 1.0
    assert ratios[499] == config.min_ratio


def test_constant_stays() -> None:
    config = ScheduleConfig(name=ScheduleKind.constant, warmup_steps=0)
    assert _ratios(config, math.inf, [0, 7, 7_000]) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["cosine", "warmup_stable_decay"])
def test_a_schedule_with_an_end_needs_one(name: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    with pytest.raises(UserError, match=rf"schedule={name} must know the run's end"):
        build_schedule(optimizer, ScheduleConfig(name=ScheduleKind(name)), math.inf)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup_steps": -1}, "schedule.warmup_steps must be at least 0; got -1"),
        ({"min_ratio": 1.5}, r"schedule.min_ratio must be in \[0, 1\]; got 1.5"),
        ({"decay_steps": 0}, "schedule.decay_steps must be at least 1; got 0"),
        ({"decay_steps": 7}, "decay_steps is read by cosine, .*, not by schedule=inverse_sqrt"),
        (
            {"name": ScheduleKind.constant, "min_ratio": 0.5},
            "schedule.min_ratio is read by inverse_sqrt, .*, not by schedule=constant: leave it",
        ),
    ],
)
def test_schedule_values_that_do_not_fit_are_refused(options: dict[str, Any], message: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    with pytest.raises(UserError, match=message):
        build_schedule(optimizer, ScheduleConfig(**options), 100)


def test_a_resumed_optimizer_takes_the_configurations_numbers() -> None:
    """Weight decay too where there was none before."""
    model = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5))
    old = OptimizerConfig(lr=1e-3, weight_decay=0.0)
    optimizer = build_optimizer(model, old, fused=False)
    schedule = build_schedule(optimizer, ScheduleConfig(name=ScheduleKind.constant), math.inf)
    new = OptimizerConfig(lr=2e-4, weight_decay=0.5, betas=(0.8, 0.9), eps=1e-5)
    set_options(model, optimizer, schedule, new)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    assert {group["betas"] for group in optimizer.param_groups} == {(0.8, 0.9)}
    assert {group["eps"] for group in optimizer.param_groups} == {1e-5}
    optimizer.step()
    schedule.step()
    ratio = schedule.lr_lambdas[0](1)
    assert {group["lr"] for group in optimizer.param_groups} == {2e-4 * ratio}
