"""What `minitf verify` can be told, read from `key=value` arguments."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from omegaconf import OmegaConf

from minitf.config.compose import config_dir, options
from minitf.config.errors import UserError, did_you_mean
from minitf.config.messages import explain
from minitf.config.schema import ModelConfig

LEVELS = ("op", "model", "training", "decoding", "properties")
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
SETTINGS = ("quick", "thorough")
DATA = ("scenes", "letters")


@dataclass(frozen=True)
class Effort:
    """How much is compared."""

    strength: int
    """Axis values that the case matrix combines: every pair (2) or triple (3)."""
    case_seeds: int
    """How many matrices with other sizes and values."""
    steps: int
    """Of lockstep training."""
    batch_size: int
    """Sentences in a training batch."""
    decoding_steps: int
    """Updates before decoding."""
    sentences: int
    """Decoded."""


EFFORTS = {
    "quick": Effort(2, 1, 40, 8, 100, 12),
    "thorough": Effort(3, 3, 200, 16, 600, 64),
}


@dataclass(frozen=True)
class VerifySettings:
    """Every key of `minitf verify`."""

    reference: dict[str, Any] = field(default_factory=lambda: {"name": "torch"})
    candidate: dict[str, Any] = field(default_factory=lambda: {"name": "custom"})
    level: str = "all"
    """One level, several with commas, or all."""
    setting: str = "quick"
    dtype: str = "auto"
    """One data type; auto: all four for the op, the usual ones for whole models."""
    device: str = "auto"
    seed: int = 0
    steps: int | None = None
    """Of lockstep training, instead of the setting's."""
    batch_size: int | None = None
    threads: int | None = None
    """Of the CPU; null: torch's own number. Bits depend on it, as a sum's order does."""
    data: str = "scenes"
    """What models train on: the embedded corpus, or letters to be reversed."""
    run: str | None = None
    """A run directory whose model is compared, with its weights and its tokenizer."""
    out: str | None = None
    """Directory of the report; null: outputs/verify/TIME."""
    logger: str = "wandb"
    """wandb (offline where no key is configured) or none."""
    model_name: str = "nano"
    model: ModelConfig = field(default_factory=ModelConfig)

    @property
    def levels(self) -> list[str]:
        """The levels to run, in order."""
        named = self.level.split(",")
        return [level for level in LEVELS if level in named or "all" in named]

    @property
    def effort(self) -> Effort:
        """The setting's effort, with what was given in its stead."""
        effort = EFFORTS[self.setting]
        given = {"steps": self.steps, "batch_size": self.batch_size}
        return dataclasses.replace(effort, **{k: v for k, v in given.items() if v is not None})

    def dtypes(self, *default: str) -> list[torch.dtype]:
        """The data types of a level: the one given, or the level's own."""
        names = default if self.dtype == "auto" else (self.dtype,)
        return [DTYPES[name] for name in names]

    @property
    def torch_device(self) -> torch.device:
        """The device; auto: cuda where there is one."""
        name = self.device
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name.startswith("cuda") and not torch.cuda.is_available():
            raise UserError(f"device={name} needs a CUDA device, and there is none: device=cpu")
        return torch.device(name)


_GROUPS = ("reference", "candidate", "model")
_KEYS = [f.name for f in dataclasses.fields(VerifySettings) if f.name != "model_name"]
_COUNTS = ("steps", "batch_size", "threads")
_CHOICES = {
    "setting": SETTINGS,
    "dtype": ("auto", *DTYPES),
    "data": DATA,
    "logger": ("wandb", "none"),
}


def parse(arguments: Sequence[str]) -> VerifySettings:
    """Settings from arguments such as `candidate.kernel=fast level=op thorough`.

    Raises:
        UserError: an unknown key or value, in one line with its neighbours.
    """
    values: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {group: {} for group in _GROUPS}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if not equals:
            if key not in SETTINGS:
                raise UserError(
                    f"an option reads KEY=VALUE, or is one of {', '.join(SETTINGS)}; "
                    f"got {argument!r}{did_you_mean(key, [*_KEYS, *SETTINGS])}"
                )
            if values.get("setting", key) != key:
                raise UserError(f"{' and '.join(SETTINGS)} exclude each other: leave one out")
            values["setting"] = key
            continue
        group, _, rest = key.partition(".")
        if group in groups:
            groups[group][rest or "name"] = _value(key, text)
        elif key in _KEYS:
            values[key] = _value(key, text)
        else:
            raise UserError(f"verify has no key {key!r}{did_you_mean(key, _KEYS)}")
    for side in ("reference", "candidate"):
        if groups[side]:
            defaults = {} if "_target_" in groups[side] else _DEFAULTS[side]
            values[side] = {**defaults, **groups[side]}
    if values.get("run") is not None and (groups["model"] or "data" in values):
        given = "model" if groups["model"] else "data"
        raise UserError(f"run={values['run']} has a model and data of its own: leave {given} out")
    name = str(groups["model"].pop("name", "nano"))
    values |= {"model_name": name, "model": model_config(name, groups["model"])}
    return checked(values)


_DEFAULTS = {"reference": {"name": "torch"}, "candidate": {"name": "custom"}}


def _value(key: str, text: str) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]))["value"]  # type: ignore[call-overload,index]
    except Exception as error:
        raise UserError(f"cannot read {key}={text}: {' '.join(str(error).split())}") from error


def checked(values: dict[str, Any]) -> VerifySettings:
    """Settings from plain values, each of the right type and among its choices.

    Raises:
        UserError: one is not.
    """
    for key, value in values.items():
        optional = key in _COUNTS
        if (optional or key == "seed") and not (type(value) is int or (optional and value is None)):
            raise UserError(f"{key} must be a whole number, got {value!r}")
        if key in _COUNTS and value is not None and value < 1:
            raise UserError(f"{key} must be at least 1, got {value}")
        if key in _CHOICES and value not in _CHOICES[key]:
            there, near = ", ".join(_CHOICES[key]), did_you_mean(str(value), _CHOICES[key])
            raise UserError(f"{key} must be one of {there}; got {value!r}{near}")
    if not 0 <= values.get("seed", 0) < 2**32:
        raise UserError(f"seed must be from 0 to {2**32 - 1}, got {values['seed']}")
    if values.get("level", "all") is None:
        raise UserError(f"level must be one or several of {', '.join(LEVELS)}, or all; got nothing")
    for key in ("run", "out", "level", "device"):
        if values.get(key) is not None:
            values[key] = str(values[key])
    settings = VerifySettings(**values)
    for level in settings.level.split(","):
        if level not in (*LEVELS, "all"):
            raise UserError(
                f"level must be one or several of {', '.join(LEVELS)}, or all; got {level!r}"
                f"{did_you_mean(level, LEVELS)}"
            )
    try:
        kind = torch.device("cpu" if settings.device == "auto" else settings.device).type
    except RuntimeError:
        kind = "unknown"
    if kind not in ("cpu", "cuda"):
        raise UserError(f"device must be auto, cpu or cuda; got {settings.device!r}")
    return settings


def model_config(name: str, overrides: dict[str, Any]) -> ModelConfig:
    """A model of configs/model with keys changed.

    Raises:
        UserError: no such model, key or value.
    """
    known = options("model")
    if name not in known:
        raise UserError(
            f"model must be one of {', '.join(known)}; got {name!r}{did_you_mean(name, known)}"
        )
    try:
        merged = OmegaConf.merge(
            {"model": OmegaConf.structured(ModelConfig)},
            {"model": OmegaConf.load(config_dir() / "model" / f"{name}.yaml")},
            {"model": overrides},
        )
    except Exception as error:
        raise UserError(explain(error) or " ".join(str(error).split())) from error
    config = OmegaConf.to_object(merged.model)
    assert isinstance(config, ModelConfig)
    return config
