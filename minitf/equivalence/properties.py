"""Level 5: what must hold of any attention, with nothing to compare it to.

All properties are checked in float64, where rounding (1e-16) and the smallest bug are far apart:
two results that must be equal may differ by SLACK units in the last place of their largest value.
Where exact equality follows from the formula, because a weight is exactly zero, it is asked for.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from minitf.equivalence.calls import randomize
from minitf.equivalence.implementations import Implementation
from minitf.equivalence.oracle import has_torch_names
from minitf.equivalence.ulp import ulp_size
from minitf.equivalence.verdict import raised

SLACK = 256
PROPERTIES_RULE = (
    "A property holds if two calls of one implementation, in float64, which the formula says are "
    f"equal, differ by at most {SLACK} units in the last place of their largest number."
)

BATCH, TARGET, SOURCE, HEADS, HEAD_DIM = 3, 7, 11, 2, 8
EMBED = HEADS * HEAD_DIM


class Outcome(StrEnum):
    """What a property's check found."""

    holds = "holds"
    violated = "violated"
    note = "note"
    """Neither right nor wrong: worth knowing."""
    not_applicable = "not applicable"


@dataclass(frozen=True)
class PropertyResult:
    """One property of one implementation."""

    name: str
    statement: str
    outcome: Outcome
    finding: str = ""


class Violated(Exception):  # noqa: N818 - a result, not an error
    """A property does not hold; the message says by how much."""


class NotApplicable(Exception):  # noqa: N818
    """The implementation lacks what the property speaks of."""


class Note(Exception):  # noqa: N818
    """The check ends with something worth knowing."""


class Subject:
    """The implementation under the checks, and its inputs."""

    def __init__(self, implementation: Implementation, device: torch.device, seed: int) -> None:
        self.implementation = implementation
        self.device = device
        self.seed = seed
        self.generator = torch.Generator().manual_seed(seed)
        self.has_torch_names = True
        """Of the modules built; such a class stands in for torch's, and may decline no call."""

    def module(self, dropout: float = 0.0) -> nn.Module:
        """A float64 module, batch first, in eval mode, with the same random weights each time."""
        torch.manual_seed(self.seed)
        module = self.implementation(
            EMBED, HEADS, dropout=dropout, batch_first=True, dtype=torch.float64, device=self.device
        )
        self.has_torch_names = has_torch_names(dict(module.named_parameters()))
        randomize(module, self.seed)
        return module.eval()

    def tensor(self, *shape: int) -> Tensor:
        """Standard normal, float64."""
        x = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return x.to(self.device)

    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Query (B, T, E), key and value (B, S, E)."""
        return (
            self.tensor(BATCH, TARGET, EMBED),
            self.tensor(BATCH, SOURCE, EMBED),
            self.tensor(BATCH, SOURCE, EMBED),
        )

    def padding(self) -> Tensor:
        """(B, S), True at padding: 0, 4 and 9 keys of the three sentences."""
        lengths = torch.tensor([SOURCE, SOURCE - 4, SOURCE - 9], device=self.device)
        return torch.arange(SOURCE, device=self.device) >= lengths[:, None]


def require_equal(a: Tensor, b: Tensor, what: str, magnitude: float = 0.0) -> None:
    """Equal but for SLACK units in the last place of the largest value.

    `magnitude` is the size of a larger value that was met on the way.

    Raises:
        Violated: they are not.
    """
    if a.shape != b.shape:
        raise Violated(f"{what}: {tuple(a.shape)} against {tuple(b.shape)}")
    a, b = a.detach(), b.detach()
    allowed = SLACK * ulp_size(max(float(b.abs().max()), magnitude), torch.float64)
    difference = float((a - b).abs().max())
    if not difference <= allowed:
        raise Violated(f"{what}: differs by {difference:.2g}, rounding explains {allowed:.2g}")


def unlike_softmax(module: nn.Module, finding: str) -> Exception:
    """What to raise where weights are not a softmax's: of another formula it is no fault.

    Sigmoid attention's do not sum to one, and talking heads (Shazeer et al. 2020) mix them.
    """
    if has_torch_names(dict(module.named_parameters())):
        return Violated(finding)
    return Note(f"{finding}: no softmax, which a class with parameters of its own need not be")


def weights_of(module: nn.Module, *inputs: Tensor, **options: object) -> tuple[Tensor, Tensor]:
    """Output, and weights of each head.

    Raises:
        NotApplicable: the implementation returns none.
    """
    output, weights = module(*inputs, need_weights=True, average_attn_weights=False, **options)
    if weights is None:
        raise NotApplicable("returns no weights")
    return output, weights


def batch_invariance(subject: Subject) -> None:
    """A sentence's result does not depend on the others in its batch."""
    module, inputs, padding = subject.module(), subject.inputs(), subject.padding()
    together, _ = module(*inputs, key_padding_mask=padding, need_weights=False)
    for row in range(BATCH):
        alone, _ = module(
            *(x[row : row + 1] for x in inputs),
            key_padding_mask=padding[row : row + 1],
            need_weights=False,
        )
        require_equal(alone, together[row : row + 1], f"sentence {row} alone")


def key_permutation(subject: Subject) -> None:
    """Permuting keys, values and their mask changes nothing; permuting queries permutes outputs."""
    module, (query, key, value), padding = subject.module(), subject.inputs(), subject.padding()
    order = torch.randperm(SOURCE, generator=subject.generator).to(subject.device)
    before, _ = module(query, key, value, key_padding_mask=padding, need_weights=False)
    after, _ = module(
        query,
        key[:, order],
        value[:, order],
        key_padding_mask=padding[:, order],
        need_weights=False,
    )
    require_equal(after, before, "keys permuted")
    order = torch.randperm(TARGET, generator=subject.generator).to(subject.device)
    after, _ = module(query[:, order], key, value, key_padding_mask=padding, need_weights=False)
    require_equal(after, before[:, order], "queries permuted")


def large_scores(subject: Subject) -> None:
    """Adding 800 to every score changes nothing, though exp(800) is beyond float64."""
    module, inputs = subject.module(), subject.inputs()
    shift = torch.full((TARGET, SOURCE), 800.0, dtype=torch.float64, device=subject.device)
    for need_weights in (False, True):
        plain, _ = module(*inputs, need_weights=need_weights)
        output, _ = module(*inputs, attn_mask=shift, need_weights=need_weights)
        try:
            require_equal(output, plain, "scores shifted by 800", magnitude=800.0)
        except Violated as violation:
            if not bool(output.isfinite().all()):
                raise
            raise unlike_softmax(module, str(violation)) from violation


def weights_are_a_distribution(subject: Subject) -> None:
    """Weights are at least 0, 0 where masked, and sum to one; averaged ones are the heads' mean."""
    module, inputs, padding = subject.module(), subject.inputs(), subject.padding()
    _, weights = weights_of(module, *inputs, key_padding_mask=padding)
    if weights.shape != (BATCH, HEADS, TARGET, SOURCE):
        raise Violated(f"weights of each head are {tuple(weights.shape)}")
    if bool((weights.masked_select(padding[:, None, None, :]) != 0).any()):
        raise Violated("a padded key has weight")
    _, averaged = module(*inputs, key_padding_mask=padding, need_weights=True)
    require_equal(averaged, weights.mean(1), "averaged weights")
    if bool((weights < 0).any()):
        raise unlike_softmax(module, f"the least weight is {float(weights.min()):.2g}")
    try:
        require_equal(weights.sum(-1), torch.ones_like(weights[..., 0]), "sum of a row's weights")
    except Violated as violation:
        if not bool(weights.isfinite().all()):
            raise
        raise unlike_softmax(module, str(violation)) from violation


def weights_do_not_change_output(subject: Subject) -> None:
    """Asking for weights does not change the output."""
    module, inputs, padding = subject.module(), subject.inputs(), subject.padding()
    with_weights, _ = weights_of(module, *inputs, key_padding_mask=padding)
    without, _ = module(*inputs, key_padding_mask=padding, need_weights=False)
    require_equal(without, with_weights, "output without weights")


def inputs_stay(subject: Subject) -> None:
    """Inputs and masks are not written to."""
    module, inputs, padding = subject.module(), subject.inputs(), subject.padding()
    mask = subject.tensor(TARGET, SOURCE)
    tensors = (*inputs, padding, mask)
    copies = [x.clone() for x in tensors]
    module(*inputs, key_padding_mask=padding, attn_mask=mask)
    if not all(torch.equal(a, b) for a, b in zip(tensors, copies, strict=True)):
        raise Violated("an input was changed in place")


def arguments_by_position(subject: Subject) -> None:
    """Arguments that are given by position are read in torch's order."""
    module, inputs, padding = subject.module(), subject.inputs(), subject.padding()
    mask = subject.tensor(TARGET, SOURCE)
    by_name, _ = module(*inputs, key_padding_mask=padding, need_weights=True, attn_mask=mask)
    order = "key_padding_mask, need_weights, attn_mask, average_attn_weights, is_causal"
    try:
        found, _ = module(*inputs, padding, True, mask, True, False)
        require_equal(found, by_name, "by position")
    except Exception as error:  # the model itself calls by name
        raise Note(f"they are not: torch's is query, key, value, {order}") from error


def gradients(subject: Subject) -> None:
    """Gradients of inputs and parameters equal finite differences (gradcheck)."""
    module, padding = subject.module(), subject.padding()[:2, :5]
    names = [name for name, _ in module.named_parameters()]
    parameters = [p.detach().clone().requires_grad_() for p in module.parameters()]
    inputs = [subject.tensor(2, length, EMBED).requires_grad_() for length in (3, 5, 5)]

    for need_weights in (False, True):

        def call(*tensors: Tensor, need_weights: bool = need_weights) -> list[Tensor]:
            state = dict(zip(names, tensors[3:], strict=True))
            options = {"key_padding_mask": padding, "need_weights": need_weights}
            results = torch.func.functional_call(module, state, tuple(tensors[:3]), options)
            return [x for x in results if x is not None]

        tensors = (*inputs, *parameters)
        try:
            torch.autograd.gradcheck(call, tensors, fast_mode=True, atol=1e-7, rtol=1e-5)
        except RuntimeError as error:
            first = next((line for line in str(error).splitlines() if line.strip()), "")
            raise Violated(first.strip()) from error


Check = Callable[[Subject], None]

PLAIN_CHECKS: tuple[Check, ...] = (
    batch_invariance,
    key_permutation,
    large_scores,
    weights_are_a_distribution,
    weights_do_not_change_output,
    inputs_stay,
    arguments_by_position,
    gradients,
)


def check(
    implementation: Implementation, test: Check, device: torch.device, seed: int
) -> PropertyResult:
    """Run one check."""
    statement = " ".join((test.__doc__ or "").split())
    subject = Subject(implementation, device, seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of masks of two kinds
            test(subject)
    except Violated as violation:
        outcome, finding = Outcome.violated, str(violation)
    except NotApplicable as reason:
        outcome, finding = Outcome.not_applicable, str(reason)
    except Note as note:
        outcome, finding = Outcome.note, str(note)
    except Exception as error:  # whatever the implementation raises is the finding
        declines = isinstance(error, NotImplementedError) and not subject.has_torch_names
        outcome = Outcome.not_applicable if declines else Outcome.violated
        finding = raised(error)
    else:
        outcome, finding = Outcome.holds, ""
    return PropertyResult(test.__name__.replace("_", " "), statement, outcome, finding)


def run_properties_level(
    implementation: Implementation, device: torch.device, seed: int
) -> list[PropertyResult]:
    """Check every property of one implementation.

    Raises:
        UserError: the module cannot be built, of which nothing can hold or be violated.
    """
    from minitf.equivalence.cache_properties import CACHE_CHECKS
    from minitf.equivalence.dropout_properties import DROPOUT_CHECKS
    from minitf.equivalence.mask_properties import MASK_CHECKS
    from minitf.equivalence.named_properties import NAMED_CHECKS

    Subject(implementation, device, seed).module()
    checks = (*MASK_CHECKS, *PLAIN_CHECKS, *NAMED_CHECKS, *DROPOUT_CHECKS, *CACHE_CHECKS)
    return [check(implementation, test, device, seed) for test in checks]
