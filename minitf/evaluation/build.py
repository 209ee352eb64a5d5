"""From configuration to model: which class attends, and the Transformer around it."""

import functools
import importlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from minitf.attention import MultiHeadAttention
from minitf.config.errors import UserError, did_you_mean
from minitf.config.schema import ModelConfig
from minitf.model import Transformer

ATTENTIONS = {
    "custom": "minitf.attention.MultiHeadAttention",
    "torch": "torch.nn.MultiheadAttention",
}
"""The short names, as in `attention=torch`; any other class is named by its import path."""

AttentionChoice = str | Mapping[str, Any] | Callable[..., nn.Module]
"""A short name, an import path, a mapping with `_target_` and options, or the class itself."""

_OWN = ("minitf.", "torch.nn.")
_GIVEN_BY_THE_MODEL = {
    "embed_dim": "use model.embed_dim",
    "num_heads": "use model.num_heads",
    "dropout": "use model.attention_dropout",
    "batch_first": "the model works batch first",
    "rotary_base": "use model.positions=rotary",
}


def build_model(
    config: ModelConfig, attention: AttentionChoice, vocab_size: int, pad_id: int
) -> Transformer:
    """The Transformer of a configuration, newly initialised.

    Args:
        config: The model's options.
        attention: Which class attends, and its options; see `attention_factory`.
        vocab_size: V, shared by source and target.
        pad_id: The padding token's id.

    Raises:
        UserError: An option is out of range, or the attention does not fit.
    """
    factory = attention_factory(attention)
    try:
        return Transformer(vocab_size, **vars(config), pad_id=pad_id, attention=factory)
    except UserError:
        raise
    except ValueError as error:  # the model room knows no UserError
        raise UserError(str(error)) from error
    except TypeError as error:  # a constructor that hands **kwargs on may not know them after all
        if "unexpected keyword argument" not in str(error):
            raise
        build = getattr(factory, "func", factory)
        name = str(error).rpartition("argument ")[2].strip("'")
        known = _named_parameters(str(build), build) - _GIVEN_BY_THE_MODEL.keys()
        raise UserError(
            f"attention.{name}: {getattr(build, '__qualname__', build)} takes no such option"
            f"{did_you_mean(name, known)}"
        ) from error


def attention_factory(attention: AttentionChoice) -> Callable[..., nn.Module]:
    """What builds each attention of a model.

    An option that the class does not take is left out where it has the custom module's default
    (`kernel=auto` beside torch's class), and refused where it has another value.

    Args:
        attention: `custom`, `torch`, an import path, a mapping with `_target_` and the
            constructor's further options, or the class itself. An empty mapping is `custom`.

    Returns:
        A class, or a class with options bound, to be called as torch's constructor is.

    Raises:
        UserError: The path leads nowhere, or to no class, or an option is unknown to the class.
    """
    if callable(attention):
        return attention
    options: dict[str, Any] = (
        {"_target_": attention} if isinstance(attention, str) else dict(attention)
    )
    target = str(options.pop("_target_", "custom"))
    options.pop("_partial_", None)
    build = import_class(ATTENTIONS.get(target, target))
    bound = _fitting_options(target, build, options)
    try:
        inspect.signature(build).bind(1, 1, dropout=0.0, batch_first=True, **bound)
    except TypeError as error:
        raise UserError(
            f"attention._target_={target} is not constructed as torch.nn.MultiheadAttention is, "
            f"(embed_dim, num_heads, dropout=…, batch_first=…): {error}"
        ) from error
    return functools.partial(build, **bound) if bound else build


def other_attention(
    stored: Mapping[str, Any], choice: AttentionChoice
) -> tuple[dict[str, Any], Callable[..., nn.Module]]:
    """Another attention for a trained model, with the options that its weights depend on.

    An option that only the user's own class knew is left out, and a warning names it: a block size
    changes no result, but a window does.

    Args:
        stored: The configuration's attention.
        choice: What to run with instead; its own options win. The stored kernel does not go along.

    Returns:
        The attention as a configuration, and what builds it.

    Raises:
        UserError: as in `attention_factory`; and a choice of options alone, such as a kernel, where
            the stored attention is neither minitf's nor torch's.
    """
    if not (isinstance(choice, str | Mapping) or callable(choice)):
        raise UserError(f"attention must be a name, a mapping or a class, got {choice!r}")
    if isinstance(choice, Mapping) and "_target_" not in choice:
        _refuse_a_class_of_the_file(attention_path(stored))
    options = {k: v for k, v in stored.items() if k not in ("_target_", "_partial_", "kernel")}
    if is_named_by_the_user(attention_path(stored)):
        options = _known_options(options, choice)
    if callable(choice):
        own = choice.keywords if isinstance(choice, functools.partial) else {}
        build = choice.func if isinstance(choice, functools.partial) else choice
        options = {name: value for name, value in options.items() if name not in own}
        name = f"{build.__module__}.{getattr(build, '__qualname__', build)}"
        bound = _fitting_options(name, choice, options)
        return {"_target_": name, **own, **bound}, functools.partial(choice, **bound)
    given = {"_target_": choice} if isinstance(choice, str) else choice
    merged = {**options, **given, "_target_": attention_path(given)}
    return merged, attention_factory(merged)


def attention_path(attention: Mapping[str, Any]) -> str:
    """The import path of the class that a configuration names, by a short name or by that path."""
    target = str(attention.get("_target_", "custom"))
    return ATTENTIONS.get(target, target)


def is_named_by_the_user(target: str) -> bool:
    """Whether a run's attention is neither minitf's nor torch's: see `stored_attention`."""
    return not ATTENTIONS.get(target, target).startswith(_OWN)


def stored_attention(attention: Mapping[str, Any]) -> Callable[..., nn.Module]:
    """`attention_factory` for a configuration that came out of a file.

    A file must not decide what code runs: this project's and torch's own attention classes are
    built, any other has to be named anew by the user.

    Raises:
        UserError: The stored class is neither minitf's nor torch's.
    """
    target = attention_path(attention)
    _refuse_a_class_of_the_file(target)
    build = import_class(target)
    if not (inspect.isclass(build) and issubclass(build, nn.Module)):
        raise UserError(f"the run's attention {target!r} is no attention class: edit config.yaml")
    return attention_factory(attention)


def _refuse_a_class_of_the_file(target: str) -> None:
    if is_named_by_the_user(target):
        raise UserError(
            f"the run was trained with attention {target}, and a class that a file names is not "
            f"imported: name it yourself, with --attention {target} or, in Python, attention="
            f"{target!r}"
        )


def import_class(path: str, key: str = "attention") -> Callable[..., nn.Module]:
    """The class at `package.module.Class`.

    Args:
        path: Its import path.
        key: The option that names it, for errors.

    Raises:
        UserError: in one line, the cause and the names that are near.
    """
    module_name, _, name = path.rpartition(".")
    if not module_name:
        raise UserError(
            f"{key}={path}: there is {', '.join(ATTENTIONS)}, or a class's import path "
            f"as in package.module.Class{did_you_mean(path, ATTENTIONS)}"
        )
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the user's module may raise anything while it is imported
        cause = " ".join(str(error).split()) or "no message"
        raise UserError(
            f"{key}={path}: cannot import {module_name} ({type(error).__name__}: {cause}); "
            f"give package.module.Class, from a directory on PYTHONPATH"
        ) from error
    found = getattr(module, name, None)
    if found is None:
        there = [n for n, value in vars(module).items() if inspect.isclass(value)]
        raise UserError(f"{key}={path}: {module_name} has no {name!r}{did_you_mean(name, there)}")
    if not callable(found):
        raise UserError(f"{key}={path}: must be a class, but it is of type {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _fitting_options(
    target: str, build: Callable[..., nn.Module], options: Mapping[str, Any]
) -> dict[str, Any]:
    parameters = _parameters(target, build)
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    custom = inspect.signature(MultiHeadAttention).parameters
    fitting = {}
    for name, value in options.items():
        if name in _GIVEN_BY_THE_MODEL:
            raise UserError(f"attention.{name} cannot be set: {_GIVEN_BY_THE_MODEL[name]}")
        is_default = name in custom and value == custom[name].default
        if name == "kernel" and is_default and build is not MultiHeadAttention:
            continue  # of configs/attention/custom.yaml: a class may have a default of its own
        if name in parameters or (takes_any and not is_default):
            fitting[name] = value
        elif not is_default:
            known = [n for n in parameters if n not in _GIVEN_BY_THE_MODEL]
            raise UserError(
                f"attention.{name}={value}: {target} takes no such option"
                f"{did_you_mean(name, known) or '; leave it out'}"
            )
    return fitting


def _parameters(target: str, build: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(build).parameters
    except ValueError as error:  # such as dict
        raise UserError(f"attention={target} is no attention class: {error}") from error


def _known_options(options: Mapping[str, Any], choice: AttentionChoice) -> dict[str, Any]:
    """Those that the chosen class takes; the others are named in a warning."""
    target = choice if isinstance(choice, str) or callable(choice) else choice.get("_target_")
    target = "custom" if target is None else target
    build = target if callable(target) else import_class(ATTENTIONS.get(target, target))
    known = _named_parameters(str(target), build)
    for name in options.keys() - known:
        warnings.warn(
            f"attention.{name}={options[name]}, with which the run was trained, is left out: "
            f"{target} takes no such option",
            stacklevel=3,
        )
    return {name: value for name, value in options.items() if name in known}


def _named_parameters(target: str, build: Callable[..., Any]) -> set[str]:
    """Of the constructor and, where that hands **kwargs on, of the classes it derives from."""
    named: set[str] = set()
    for kind in inspect.getmro(build) if inspect.isclass(build) else (build,):
        if kind is not build and "__init__" not in vars(kind):
            continue
        parameters = _parameters(target, kind)
        named |= parameters.keys()
        if all(p.kind is not inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
            break
    return named
