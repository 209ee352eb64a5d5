"""Which two attentions are compared: a name or a class, with its options.

`torch` and `custom` are known by name; any other class is named by `_target_`, as in Hydra.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from minitf.attention.errors import AttentionError
from minitf.attention.kernels import KERNELS
from minitf.config.errors import UserError, did_you_mean
from minitf.evaluation.build import ATTENTIONS, import_class

TORCH_OPTIONS = ("bias", "add_bias_kv", "add_zero_attn", "kdim", "vdim")
"""What torch's constructor takes and not every other one; cases that need it may be left out."""

_VARIED = ("embed_dim", "num_heads", "dropout", "bias", "add_bias_kv", "add_zero_attn", "kdim",
           "vdim", "batch_first", "device", "dtype")  # fmt: skip


@dataclass(frozen=True)
class Implementation:
    """An attention class and the options it is built with."""

    name: str
    build: Callable[..., nn.Module]
    """The class: called with torch's constructor arguments and `options`."""
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, embed_dim: int, num_heads: int, **kwargs: Any) -> nn.Module:
        """A new module; `options` are added to the arguments.

        `device` and `dtype` are set afterwards too: a constructor may not take them, or take
        anything and heed nothing.

        Raises:
            UserError: the module cannot be built.
        """
        place = {name: kwargs[name] for name in ("device", "dtype") if name in kwargs}
        kwargs = {k: v for k, v in kwargs.items() if k not in place or self.takes(k)}
        try:
            module = self.build(embed_dim, num_heads, **{**kwargs, **self.options})
        except Exception as error:  # whatever a user's constructor raises is told in one line
            message = " ".join(str(error).split())
            if isinstance(error, AttentionError):  # says which argument
                raise UserError(f"{self.label} cannot be built: {message}") from error
            raise UserError(
                f"{self.label} cannot be built with {embed_dim}, {num_heads}, "
                f"{', '.join(kwargs)}: {type(error).__name__}: {message}"
            ) from error
        return module.to(**place)

    def takes(self, option: str) -> bool:
        """Whether the constructor has a parameter of that name, or may hand it on."""
        return _takes(self.build, option)

    @property
    def factory(self) -> Callable[..., nn.Module]:
        """What the model takes: the class with its options bound."""
        return functools.partial(self.build, **self.options)

    @property
    def label(self) -> str:
        """Name and options on one line."""
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}({options})" if options else self.name


def resolve(side: str, config: str | Mapping[str, Any]) -> Implementation:
    """The implementation that an option names.

    Args:
        side: "reference" or "candidate", for errors.
        config: a name, or a mapping with `name` or `_target_` and further options.

    Raises:
        UserError: for an unknown name, a class that cannot be imported or is no attention module,
            and an option that the class does not take.
    """
    options = {"name": config} if isinstance(config, str) else dict(config)
    name = options.pop("name", None)
    target = options.pop("_target_", None)
    if target is None:
        if name not in ATTENTIONS:
            raise UserError(
                f"{side} must be one of {', '.join(ATTENTIONS)}, or {side}._target_=package.Class; "
                f"got {name!r}{_meant(side, str(name))}"
            )
        target = ATTENTIONS[name]
    build = import_class(target, f"{side}._target_")
    _check_options(side, target, build, options)
    return Implementation(name or target, build, options)


def _check_options(
    side: str, target: str, build: Callable[..., nn.Module], options: Mapping[str, Any]
) -> None:
    for option in options:
        if not _takes(build, option):
            known = inspect.signature(build).parameters
            raise UserError(
                f"{side}.{option} is not an option of {target}{did_you_mean(option, known)}"
            )
        if option in _VARIED:
            raise UserError(f"{side}.{option} cannot be set: verify varies it over its cases")
        if option == "rotary_base":
            raise UserError(f"{side}.rotary_base cannot be set: use model.positions=rotary")


def _takes(build: Callable[..., nn.Module], option: str) -> bool:
    """A constructor with **kwargs takes what those take that it derives from."""
    for kind in inspect.getmro(build) if inspect.isclass(build) else (build,):
        if kind is nn.Module:
            break  # whatever is left goes to a part of the module
        if kind is not build and "__init__" not in vars(kind):
            continue
        parameters = inspect.signature(kind).parameters
        if option in parameters:
            return True
        if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            return False
    return True


def _meant(side: str, name: str) -> str:
    if name in KERNELS:
        return f", a kernel: {side}.kernel={name}"
    return did_you_mean(name, ATTENTIONS)
