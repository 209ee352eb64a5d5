"""minitf: a mini Transformer training framework in which attention is one replaceable part."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minitf.evaluation import load as load

__version__ = "0.1.0"
_ROOMS = ("attention", "batching", "config", "data", "decoding", "equivalence", "evaluation",
          "export", "model", "reports", "tokenizer", "training")  # fmt: skip
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:  # PEP 562: `import minitf` stays quick, torch comes on first use
    if name == "load":
        from minitf.evaluation import load

        return load
    if name in _ROOMS:
        return importlib.import_module(f"minitf.{name}")
    raise AttributeError(f"module 'minitf' has no attribute {name!r}")
