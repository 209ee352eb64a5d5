"""The optimiser and its learning-rate schedule."""

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from minitf.config import UserError
from minitf.config.schema import OptimizerConfig, OptimizerKind, ScheduleConfig, ScheduleKind
from minitf.model.embeddings import LearnedPositions


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Weight matrices decay; biases, normalisation weights and embeddings do not.

    A matrix has two or more dimensions above one: a learned key (1, 1, E) or a temperature for each
    head (H, 1, 1) is none.
    """
    tables = (nn.Embedding, LearnedPositions)
    embeddings = {id(m.weight) for m in model.modules() if isinstance(m, tables)}
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for parameter in model.parameters():
        matrix = sum(size > 1 for size in parameter.shape) >= 2 and id(parameter) not in embeddings
        (decayed if matrix else free).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def check_optimizer(config: OptimizerConfig) -> None:
    """Check the optimiser's numbers.

    Raises:
        UserError: a value outside its range, with the range.
    """
    if len(config.betas) != 2 or not all(0 <= beta < 1 for beta in config.betas):
        raise UserError(f"optimizer.betas must be two numbers in [0, 1); got {list(config.betas)}")
    for name, value in (("lr", config.lr), ("eps", config.eps)):
        if not 0 < value < math.inf:
            raise UserError(f"optimizer.{name} must be above 0 and finite; got {value}")
    if not 0 <= config.weight_decay < math.inf:
        raise UserError(f"optimizer.weight_decay must be at least 0; got {config.weight_decay}")


def build_optimizer(model: nn.Module, config: OptimizerConfig, *, fused: bool) -> Optimizer:
    """Adam or AdamW over the model's parameters.

    Args:
        model: whose parameters are trained.
        config: learning rate, betas, eps and weight decay.
        fused: torch's single-kernel update; not with float16 loss scaling, which clips outside.

    Raises:
        UserError: a value outside its range, with the range.
    """
    check_optimizer(config)
    kind = torch.optim.AdamW if config.name is OptimizerKind.adamw else torch.optim.Adam
    return kind(
        parameter_groups(model, config.weight_decay),
        lr=config.lr,
        betas=(config.betas[0], config.betas[1]),
        eps=config.eps,
        fused=fused or None,  # False would rule out torch's foreach too
    )


def learning_rate_ratio(update: int, config: ScheduleConfig, total_updates: float) -> float:
    """Learning rate of an update as a share of the peak.

    Args:
        update: 0 for the first.
        config: the schedule's name, warm-up, decay and minimum.
        total_updates: the run's length; may be infinite where nothing depends on it.

    Sources: inverse_sqrt, Vaswani et al. 2017, equation 3, scaled so that its peak is 1; cosine,
    Loshchilov and Hutter 2017, equation 5, one period; warmup_stable_decay, Hu et al. 2024,
    section 4, with a linear decay.
    """
    step = update + 1
    warmup = config.warmup_steps
    if step < warmup:
        return step / warmup
    if config.name is ScheduleKind.constant:
        return 1.0
    if config.name is ScheduleKind.inverse_sqrt:
        return max(config.min_ratio, math.sqrt(max(warmup, 1) / step))
    if config.name is ScheduleKind.cosine:
        length = config.decay_steps or max(1.0, total_updates - warmup)
        progress = min(1.0, (step - warmup) / length)
        return config.min_ratio + (1 - config.min_ratio) * (1 + math.cos(math.pi * progress)) / 2
    rest = max(1.0, total_updates - warmup)  # no decay begins before the warm-up ends
    length = min(config.decay_steps or rest, rest)
    progress = min(1.0, max(0.0, (step - (total_updates - length)) / length))
    return 1 - (1 - config.min_ratio) * progress


_DECAYING = (ScheduleKind.cosine, ScheduleKind.warmup_stable_decay)
_FALLING = (ScheduleKind.inverse_sqrt, *_DECAYING)


def check_schedule(config: ScheduleConfig) -> None:
    """Check the schedule's numbers.

    Raises:
        UserError: a value outside its range, with the range.
    """
    if config.warmup_steps < 0:
        raise UserError(f"schedule.warmup_steps must be at least 0; got {config.warmup_steps}")
    if not 0 <= config.min_ratio <= 1:
        raise UserError(f"schedule.min_ratio must be in [0, 1]; got {config.min_ratio}")
    if config.decay_steps is not None and config.decay_steps < 1:
        raise UserError(f"schedule.decay_steps must be at least 1; got {config.decay_steps}")
    readers = {"min_ratio": _FALLING, "decay_steps": _DECAYING}
    for key, names in readers.items():
        if getattr(config, key) and config.name not in names:
            readers_of = ", ".join(name.value for name in names)
            raise UserError(
                f"schedule.{key} is read by {readers_of}, not by schedule={config.name.value}: "
                "leave it out"
            )


def check_end(config: ScheduleConfig, has_end: bool) -> None:
    """Check that a schedule that needs the run's end has one.

    Raises:
        UserError: it has none.
    """
    needs_it = config.name is ScheduleKind.warmup_stable_decay or (
        config.name is ScheduleKind.cosine and config.decay_steps is None
    )
    if needs_it and not has_end:
        raise UserError(
            f"schedule={config.name.value} must know the run's end; "
            "give trainer.max_steps or trainer.max_epochs"
        )


def build_schedule(optimizer: Optimizer, config: ScheduleConfig, total_updates: float) -> LambdaLR:
    """The schedule, stepped once an update.

    Raises:
        UserError: a schedule that needs the run's end has none, or a value is out of range.
    """
    check_schedule(config)
    check_end(config, not math.isinf(total_updates))
    return LambdaLR(optimizer, lambda update: learning_rate_ratio(update, config, total_updates))


def set_options(
    model: nn.Module, optimizer: Optimizer, schedule: LambdaLR, config: OptimizerConfig
) -> None:
    """Put the configuration's numbers in the place of a checkpoint's.

    Args:
        model: whose parameters are trained.
        optimizer: restored, as `build_optimizer` made it.
        schedule: restored.
        config: learning rate, betas, eps and weight decay from now on.
    """
    schedule.base_lrs = [config.lr] * len(optimizer.param_groups)
    configured = parameter_groups(model, config.weight_decay)
    groups = zip(optimizer.param_groups, configured, schedule.lr_lambdas, strict=True)
    for group, given, ratio in groups:
        group["initial_lr"] = config.lr
        group["lr"] = config.lr * ratio(schedule.last_epoch)
        group["betas"], group["eps"] = (config.betas[0], config.betas[1]), config.eps
        group["weight_decay"] = given["weight_decay"]


def gradients(parameters: Iterable[nn.Parameter]) -> list[torch.Tensor]:
    """The gradients that there are."""
    return [p.grad for p in parameters if p.grad is not None]
