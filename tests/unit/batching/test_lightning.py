"""The batches that a Lightning loop gets, whole epochs or not, stopped and resumed or not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from minitf.batching import Batch, BatchSampler, EncodedPairs, ResumableLoader

Make = Callable[..., EncodedPairs]

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice


class Recorder(LightningModule):
    """Writes down the pairs of each batch; on Lightning's terms it trains one number."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []
        self._stop_after = stop_after

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: Batch) -> torch.Tensor:
        self.seen.append(batch.indices)
        return self.weight**2

    def validation_step(self, batch: Batch) -> None:
        pass

    def on_train_batch_end(self, *_: Any) -> None:
        if self._stop_after is not None and self.trainer.global_step == self._stop_after:
            self.trainer.save_checkpoint(f"{self.trainer.default_root_dir}/last.ckpt")
            raise KeyError("stopped")


def loader(pairs: EncodedPairs) -> ResumableLoader:
    sampler = BatchSampler(pairs.src_lengths, pairs.tgt_lengths, tokens=1200, seed=3)
    return ResumableLoader(pairs, sampler)


def fit(
    pairs: EncodedPairs,
    folder: Path,
    *,
    stop_after: int | None = None,
    ckpt_path: Path | None = None,
    **options: Any,
) -> list[list[int]]:
    module = Recorder(stop_after)
    save = ModelCheckpoint(folder, filename="validated", enable_version_counter=False)
    trainer = Trainer(
        default_root_dir=folder, accelerator="cpu", logger=False, callbacks=[save],
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        use_distributed_sampler=False, **options,
    )  # fmt: skip
    try:
        trainer.fit(module, loader(pairs), loader(pairs), ckpt_path=ckpt_path, weights_only=False)
    except KeyError:
        assert stop_after is not None
    return module.seen


def epochs(pairs: EncodedPairs, number: int, limit: int | None) -> list[list[int]]:
    one = loader(pairs)
    return [batch.indices for _ in range(number) for batch in list(one)[:limit]]


@pytest.mark.parametrize("limit", [None, 1, 2, 0.7])
def test_every_epoch_begins_at_its_start(make_pairs: Make, tmp_path: Path, limit: Any) -> None:
    pairs = make_pairs(101)
    length = len(loader(pairs))
    assert length == 4
    number = int(length * limit) if isinstance(limit, float) else limit
    seen = fit(pairs, tmp_path, max_epochs=5, limit_train_batches=limit)
    assert seen == epochs(pairs, 5, number)


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("stop_after", [1, 3, 4, 6])
@pytest.mark.parametrize("length", [{"max_steps": 14}, {"max_epochs": 4}])
def test_a_resumed_run_gets_what_it_would_have_got(
    make_pairs: Make, tmp_path: Path, limit: int | None, stop_after: int, length: dict[str, int]
) -> None:
    pairs = make_pairs(101)
    options = {"limit_train_batches": limit, **length}
    whole = fit(pairs, tmp_path, **options)
    assert whole[:12] == epochs(pairs, 4, limit)[:12]
    first = fit(pairs, tmp_path, stop_after=stop_after, **options)
    second = fit(pairs, tmp_path, ckpt_path=tmp_path / "last.ckpt", **options)
    assert [*first, *second] == whole


@pytest.mark.parametrize("limit", [None, 3])
@pytest.mark.parametrize("interval", [1, 3])
@pytest.mark.parametrize("made", [3, 4, 6])
def test_a_run_resumed_after_a_validation_does_too(
    make_pairs: Make, tmp_path: Path, limit: int | None, interval: int, made: int
) -> None:
    pairs = make_pairs(101)
    options = {
        "limit_train_batches": limit,
        "val_check_interval": interval,
        "check_val_every_n_epoch": None,
    }
    whole = fit(pairs, tmp_path / "whole", max_steps=13, **options)
    fit(pairs, tmp_path, max_steps=made, **options)
    saved = tmp_path / "validated.ckpt"
    at = torch.load(saved, weights_only=False)["global_step"]
    rest = fit(pairs, tmp_path / "rest", ckpt_path=saved, max_steps=13, **options)
    assert [*whole[:at], *rest] == whole
