"""What a user can get wrong in a model's options; each error is one line with the option's name."""

import inspect
from collections.abc import Callable, Sequence

from torch import nn


def check_sizes(**sizes: int) -> None:
    """Sizes are positive.

    Raises:
        ValueError: where one is not.
    """
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"model.{name} must be at least 1, got {size}")


def check_heads(embed_dim: int, num_heads: int) -> None:
    """Heads share the width evenly.

    Raises:
        ValueError: where they cannot.
    """
    if embed_dim % num_heads:
        raise ValueError(
            f"model.embed_dim must be a multiple of model.num_heads, "
            f"got embed_dim={embed_dim} and num_heads={num_heads}"
        )


def check_probabilities(**probabilities: float) -> None:
    """Dropout leaves something.

    Raises:
        ValueError: for a probability below 0, or of 1 and above.
    """
    for name, probability in probabilities.items():
        if not 0.0 <= probability < 1.0:
            raise ValueError(f"model.{name} must be at least 0 and below 1, got {probability}")


def check_choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """A name is one of those there are.

    Raises:
        ValueError: where it is not.
    """
    if value not in allowed:
        raise ValueError(f"model.{name} must be one of {', '.join(allowed)}, got {value!r}")


def check_pad_id(pad_id: int, vocab_size: int) -> None:
    """Padding is in the vocabulary.

    Raises:
        ValueError: where it is not.
    """
    if not 0 <= pad_id < vocab_size:
        raise ValueError(f"pad_id must be from 0 to vocab_size - 1, got {pad_id}")


def check_attention(attention: object) -> None:
    """The attention is what builds one, not its name in a configuration.

    Raises:
        ValueError: where it is not.
    """
    if not callable(attention):
        raise ValueError(
            "attention must be a class such as minitf.attention.MultiHeadAttention or "
            f"torch.nn.MultiheadAttention, got {attention!r}"
        )


def check_attention_in(roles: Sequence[str], known: tuple[str, ...]) -> None:
    """The attention is used somewhere, and only where there is one.

    Raises:
        ValueError: where it is not.
    """
    if isinstance(roles, str) or not roles or any(role not in known for role in roles):
        got = repr(roles) if isinstance(roles, str) else f"[{', '.join(map(str, roles))}]"
        raise ValueError(
            f"model.attention_in must be a list of one or more of {', '.join(known)}, got {got}"
        )


def check_takes_rotary_base(attention: Callable[..., nn.Module]) -> None:
    """An attention can turn its queries and keys.

    Raises:
        ValueError: where it has no argument for it.
    """
    parameters = inspect.signature(attention).parameters
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    if "rotary_base" not in parameters and not takes_any:
        built = getattr(attention, "func", attention)  # a functools.partial names its class
        name = f"{built.__module__}.{getattr(built, '__qualname__', built)}"
        raise ValueError(
            f"model.positions=rotary needs an attention that takes `rotary_base`; {name} does not: "
            f"choose another model.positions or attention=custom"
        )


def check_heeds_rotary_base(attention: nn.Module) -> None:
    """A class that takes any argument has kept this one.

    Raises:
        ValueError: where it has not: the model would know no positions.
    """
    named = "rotary_base" in inspect.signature(type(attention)).parameters
    if not named and getattr(attention, "rotary_base", None) is None:
        raise ValueError(
            f"model.positions=rotary needs an attention that turns queries and keys; "
            f"{type(attention).__name__} takes any argument and has no attribute rotary_base: "
            f"choose another model.positions"
        )
