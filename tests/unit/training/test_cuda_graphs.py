"""An update by recorded graphs is the same update."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from minitf.attention import MultiHeadAttention
from minitf.config import UserError
from minitf.model import Transformer
from minitf.model.loss import LossSums, linear_cross_entropy
from minitf.training import cuda_graphs
from minitf.training.cuda_graphs import GraphedGradients

from .test_module import _fit, _settings


def _replayed_by_hand(
    self: GraphedGradients, compute: Callable[[], Tensor]
) -> tuple[Tensor, Callable[[], None]]:
    """What a graph does, without one: the same steps on the same memory."""
    totals = torch.full((2,), torch.nan, dtype=torch.float64)
    where = [id(p.grad) for p in self._parameters]

    def replay() -> None:
        assert where == [id(p.grad) for p in self._parameters]
        totals.copy_(compute())

    return totals, replay


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("r_drop", [0, 2])
def test_updates_are_those_without(
    monkeypatch: pytest.MonkeyPatch, accumulate: int, r_drop: int
) -> None:
    monkeypatch.setattr(GraphedGradients, "_capture", _replayed_by_hand)
    overrides = ["batching.tokens=40", f"objective.r_drop={r_drop}", "model.dropout=0.3"]
    # With a validation before each update, for which Lightning lets go of the gradients.
    often = {"limit_val_batches": 1, "val_check_interval": accumulate}
    _, expected, _ = _fit(_settings(*overrides), accumulate, **often)
    module, found, _ = _fit(_settings(*overrides, "cuda_graphs=true"), accumulate, **often)
    assert len(found.updates) == len(expected.updates) == 3
    assert found.losses == pytest.approx(expected.losses, rel=1e-12)
    for ours, theirs in zip(found.updates, expected.updates, strict=True):
        for name, gradient in ours.items():
            torch.testing.assert_close(gradient, theirs[name], rtol=1e-12, atol=1e-15)
    assert module._graphs is not None
    shapes = {(*b.src.shape, b.tgt.size(1)) for b in found.batches}
    assert set(module._graphs._recordings) == shapes
    assert len(shapes) > 1


def test_an_update_begins_with_its_first_part_wherever_in_the_epoch_that_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after resuming with other `accumulate_grad_batches`, or in the middle of an update."""
    monkeypatch.setattr(GraphedGradients, "_capture", _replayed_by_hand)
    settings = _settings("batching.tokens=40", "cuda_graphs=true")
    module, _, _ = _fit(settings, 1)
    graphs = module._graphs
    assert graphs is not None
    batch = next(iter(module.trainer.datamodule.train_dataloader()))
    monkeypatch.setattr(module.trainer, "accumulate_grad_batches", 2)
    for part in (1, 2):
        module.zero_grad()  # to None
        module._window_tokens = 0
        module.training_step(batch, batch_idx=part)
        assert [id(p.grad) for p in module.parameters()] == [id(g) for g in graphs._gradients]
        assert module.mid_update


def test_what_a_callback_froze_before_the_first_update_stays_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(GraphedGradients, "_capture", _replayed_by_hand)
    weight, frozen = (nn.Parameter(torch.full((), 3.0)) for _ in range(2))
    graphs = GraphedGradients(_sums(weight), [frozen, weight])
    frozen.requires_grad_(False)
    graphs.zero()
    graphs.add(torch.ones(1, 2), torch.ones(1, 3), 1.0)
    assert weight.grad == 2.0
    assert frozen.grad is None


def test_what_no_loss_depends_on_gets_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one of zeros AdamW would let its weight decay."""
    monkeypatch.setattr(GraphedGradients, "_capture", _replayed_by_hand)
    weight, unused = (nn.Parameter(torch.full((), 3.0)) for _ in range(2))
    graphs = GraphedGradients(_sums(weight), [unused, weight])
    for _ in range(2):
        graphs.zero()
        graphs.add(torch.ones(1, 2), torch.ones(1, 3), 1.0)
        assert weight.grad == 2.0
        assert unused.grad is None


def _sums(weight: Tensor) -> Callable[[Tensor, Tensor], LossSums]:
    def objective(src: Tensor, tgt: Tensor) -> LossSums:
        loss = (weight * src).sum()
        return LossSums(loss, loss.detach() * tgt.sum())

    return objective


def test_further_shapes_are_computed_without_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GraphedGradients, "_capture", _replayed_by_hand)
    monkeypatch.setattr(cuda_graphs, "MOST", 2)
    weight = nn.Parameter(torch.full((), 3.0, dtype=torch.float64))
    graphs = GraphedGradients(_sums(weight), [weight])

    def check(length: int) -> None:
        graphs.zero()
        totals = graphs.add(torch.ones(1, length), torch.ones(1, 3), 0.5)
        assert totals.tolist() == [3.0 * length, 9.0 * length]
        assert weight.grad == 0.5 * length

    check(2)
    check(5)
    with pytest.warns(UserWarning, match="more than 2 shapes"):
        check(7)
    check(2)
    assert len(graphs._recordings) == 2


def test_what_cannot_be_recorded_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(self: GraphedGradients, compute: Any) -> Any:
        try:
            raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")
        finally:
            raise RuntimeError("CUDA error: the capture was invalidated")

    monkeypatch.setattr(GraphedGradients, "_capture", refuses)
    named = r"recorded \(CUDA error: .* is capturing\); an attention that waits"
    weight = nn.Parameter(torch.ones(()))
    graphs = GraphedGradients(_sums(weight), [weight])
    graphs.zero()
    with pytest.raises(UserError, match=named):
        graphs.add(torch.ones(1, 2), torch.ones(1, 3), 1.0)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("attention", [MultiHeadAttention, nn.MultiheadAttention])
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.parametrize("compiled", [False, True])
def test_on_a_gpu(precision: torch.dtype, attention: Any, compiled: bool) -> None:
    """The same sums and gradients, dropout's draws too, through every change of shape."""
    print("seed 1")
    torch.manual_seed(1)
    model = Transformer(
        101, embed_dim=44, num_heads=4, feedforward_dim=53, dropout=0.2, attention_dropout=0.1,
        attention=attention,
    ).cuda()  # fmt: skip
    if compiled:
        model.compile_layers()

    def objective(src: Tensor, tgt: Tensor) -> LossSums:
        return linear_cross_entropy(
            model.hidden(src, tgt[:, :-1]), model.output_projection.weight, tgt[:, 1:]
        )

    graphs = GraphedGradients(objective, model.parameters())
    generator = torch.Generator("cuda").manual_seed(2)
    sizes = [(7, 11, 13), (5, 3, 17), (7, 11, 13), (2, 23, 5), (5, 3, 17)]
    for number, (B, S, T) in enumerate(sizes):
        src, tgt = (
            torch.randint(1, 101, (B, length), generator=generator, device="cuda")
            for length in (S, T + 1)
        )
        src[0, S // 2 :] = tgt[0, T // 2 :] = 0
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == torch.bfloat16):
            torch.cuda.manual_seed(number)
            model.zero_grad()
            sums = objective(src, tgt)
        (sums.loss * 0.25).backward()
        sums = LossSums(sums.loss.detach(), sums.nll)  # no other graph may be alive
        expected = {name: p.grad for name, p in model.named_parameters()}
        model.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == torch.bfloat16):
            torch.cuda.manual_seed(number)
            graphs.zero()
            totals = graphs.add(src, tgt, 0.25)
        torch.testing.assert_close(totals, torch.stack(sums))
        for name, p in model.named_parameters():
            torch.testing.assert_close(p.grad, expected[name], rtol=1e-4, atol=1e-5, msg=name)
        torch.randn(10**6, device="cuda")  # memory that was let go of is written over
    assert len(graphs._recordings) == 3
