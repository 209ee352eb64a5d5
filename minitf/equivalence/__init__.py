"""Are two attention implementations the same? `minitf verify`, as a library.

Five levels, from one module to a whole training run, and the rule that tells rounding from a bug:

1. `op_level`: the module alone on a matrix of cases, against a float64 oracle;
2. `model_level`: two models on one batch, layer by layer;
3. `training_level`: lockstep training beside rounding's envelope;
4. `decoding_level`: greedy and beam search, cached and recomputed;
5. `properties`: what must hold without any reference.

`verdict` holds the rule, `rounding` its yardstick, `self_test` the bugs that it must catch.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minitf.equivalence.assertion import assert_equivalent as assert_equivalent
    from minitf.equivalence.certify import verify as verify
    from minitf.equivalence.settings import parse as parse

__all__ = ["assert_equivalent", "parse", "verify"]

_HOME = {"assert_equivalent": "assertion", "verify": "certify", "parse": "settings"}


def __getattr__(name: str) -> Any:  # torch is imported when something is asked for
    if name in _HOME:
        import importlib

        return getattr(importlib.import_module(f"minitf.equivalence.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
