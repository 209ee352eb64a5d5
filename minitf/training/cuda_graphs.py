"""Loss and gradients by CUDA graphs, recorded once for every shape of batch.

An update of a small model is some thousand kernels of a few microseconds each, and the host takes
longer to start them than the device to compute them. A graph starts all of a forward and backward
pass at once. It computes what it was recorded with, in the same memory: inputs are copied to where
it reads them, and gradients are added to tensors that stay.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minitf.config import UserError
from minitf.model.loss import LossSums

MOST = 512
"""Graphs that are recorded; batches of further shapes are computed without one."""


@dataclass(frozen=True)
class _Recording:
    src: Tensor
    tgt: Tensor
    factor: Tensor
    totals: Tensor
    replay: Callable[[], None]


class GraphedGradients:
    """Adds the gradients of a batch to the parameters' `grad`.

    Args:
        objective: (src, tgt) -> sums over the batch; it must not wait for the device, and no graph
            of autograd that it built elsewhere may be alive when a shape comes up first.
        parameters: whose gradients are wanted.
    """

    def __init__(
        self, objective: Callable[[Tensor, Tensor], LossSums], parameters: Iterable[nn.Parameter]
    ) -> None:
        self._objective = objective
        self._parameters = list(parameters)
        self._gradients: list[Tensor] = []
        self._used: list[bool] = []
        self._recordings: dict[tuple[int, ...], _Recording] = {}
        self._pool: Any = None

    def zero(self) -> None:
        """Set all gradients to zero, where the graphs add to them.

        Others, such as Lightning before a validation, may have set `grad` to None meanwhile.
        """
        if not self._gradients:  # a callback may have frozen some before the first update
            self._parameters = [p for p in self._parameters if p.requires_grad]
            self._gradients = [torch.zeros_like(p) for p in self._parameters]
            self._used = [False] * len(self._parameters)
        self._attach()
        torch._foreach_zero_(self._gradients)

    def _attach(self) -> None:
        """A parameter that no loss depends on keeps None, which an optimizer leaves alone."""
        for p, gradient, used in zip(self._parameters, self._gradients, self._used, strict=True):
            p.grad = gradient if used else None

    def add(self, src: Tensor, tgt: Tensor, factor: float) -> Tensor:
        """Add the gradient of factor times the loss to what `zero` has begun.

        Args:
            src: (B, S).
            tgt: (B, T + 1).
            factor: one over the number of tokens, say.

        Returns:
            (2,): the sums of loss and negative log-likelihood, until the next call.

        Raises:
            UserError: the objective cannot be recorded.
        """
        shape = (*src.shape, tgt.size(1))
        recording = self._recordings.get(shape)
        if recording is None and len(self._recordings) < MOST:
            recording = self._recordings[shape] = self._record(src, tgt)
        if recording is None:
            warnings.warn(
                f"cuda_graphs: the batches have more than {MOST} shapes; those of further ones are "
                "computed without a graph",
                stacklevel=2,
            )
            return self._compute(src, tgt, src.new_full((), factor, dtype=torch.float64))
        recording.src.copy_(src)
        recording.tgt.copy_(tgt)
        recording.factor.fill_(factor)
        recording.replay()
        return recording.totals

    def _compute(self, src: Tensor, tgt: Tensor, factor: Tensor) -> Tensor:
        sums = self._objective(src, tgt)
        with torch.autocast(src.device.type, enabled=False):  # Lightning's is around both passes
            sums.loss.backward(factor.to(sums.loss.dtype))  # type: ignore[no-untyped-call]
        return torch.stack((sums.loss.detach(), sums.nll))

    def _record(self, src: Tensor, tgt: Tensor) -> _Recording:
        src, tgt = src.clone(), tgt.clone()
        factor = torch.ones((), dtype=torch.float64, device=src.device)
        self._warm_up(src, tgt)
        torch.clear_autocast_cache()  # which holds weights that the graph must convert itself
        try:
            totals, replay = self._capture(lambda: self._compute(src, tgt, factor))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            first = error.__context__ or error  # ending what has failed fails once more
            reason = str(first).strip().splitlines()[0]
            raise UserError(
                f"cuda_graphs: the update cannot be recorded ({reason}); an attention that waits "
                "for the device, or keeps what it computed, cannot be: set cuda_graphs=false"
            ) from error
        torch.clear_autocast_cache()
        return _Recording(src, tgt, factor, totals, replay)

    def _warm_up(self, src: Tensor, tgt: Tensor) -> None:
        """Let libraries load and compilers compile, which cannot be recorded.

        It shows as well which parameters get a gradient.
        """
        devices = [src.device] if src.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            loss = self._objective(src, tgt).loss
            with torch.autocast(src.device.type, enabled=False):
                found = torch.autograd.grad(loss, self._parameters, allow_unused=True)
        self._used = [
            before or gradient is not None
            for before, gradient in zip(self._used, found, strict=True)
        ]
        self._attach()

    def _capture(self, compute: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        # Other threads, such as a logger's, may use the device meanwhile.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            totals = compute()
        self._pool = graph.pool()  # all graphs share one: they run one after the other
        return totals, graph.replay
