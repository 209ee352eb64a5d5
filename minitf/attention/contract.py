"""What the model may ask of an attention class beyond torch's signature."""

import inspect
from typing import Any


def takes_cache(attention: Any) -> bool:
    """Whether decoding may hand it a `KeyValueCache`.

    Its class says so in `supports_cache`, and forward has the argument: the class may derive from
    one that has.
    """
    if not getattr(attention, "supports_cache", False):
        return False
    parameters = inspect.signature(attention.forward).parameters.values()
    return any(p.name == "cache" or p.kind is p.VAR_KEYWORD for p in parameters)


def needs_causal_mask(attention: type) -> bool:
    """Whether is_causal=True has to come with the mask, as torch's module wants it.

    The class says so that defines forward: one that derives from ours with a formula of its own may
    know is_causal no more than torch's.
    """
    for base in attention.__mro__:
        if "needs_causal_mask" in vars(base):
            return bool(vars(base)["needs_causal_mask"])
        if "forward" in vars(base):
            return True
    return True
