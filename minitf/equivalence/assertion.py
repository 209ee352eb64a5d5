"""`assert_equivalent`: the certificate inside a test suite, in one line."""

from collections.abc import Callable
from typing import Any

from torch import nn

from minitf.equivalence.certify import Verification
from minitf.equivalence.implementations import Implementation, resolve
from minitf.equivalence.settings import parse

Side = str | Callable[..., nn.Module] | Implementation


def assert_equivalent(
    candidate: Side, *overrides: str, reference: Side = "torch", level: str = "op,properties"
) -> None:
    """Fail if an attention is not equivalent to another.

    Args:
        candidate: "custom", "torch", an import path, or a class with the constructor and forward of
            torch.nn.MultiheadAttention.
        overrides: of `minitf verify`, as in "dtype=float32", "thorough", "seed=3".
        reference: likewise; what the candidate is compared with.
        level: one level, several with commas, or "all".

    Raises:
        AssertionError: they differ; the message names the level, the case and the tensor.

    Example:
        >>> import torch
        >>> assert_equivalent(torch.nn.MultiheadAttention, "dtype=float32", level="properties")
    """
    data = [] if any(o.startswith("run=") for o in overrides) else ["data=letters"]
    settings = parse([f"level={level}", *data, *overrides])
    sides = [_implementation("reference", reference), _implementation("candidate", candidate)]
    verification = Verification(settings, *sides)
    for name in settings.levels:
        for report in verification.run(name):
            if not report.verdict.equivalent:
                found = "\n  ".join(report.findings)
                raise AssertionError(
                    f"{sides[1].label} is not equivalent to {sides[0].label}\n"
                    f"{report.title}: {report.summary}\n  {found}"
                )


def _implementation(side: str, given: Any) -> Implementation:
    if isinstance(given, Implementation):
        return given
    if isinstance(given, str):
        return resolve(side, {"_target_": given} if "." in given else given)
    return Implementation(getattr(given, "__name__", str(given)), given)
