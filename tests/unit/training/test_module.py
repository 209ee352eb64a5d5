"""An update's gradient is that of its summed loss over its number of target tokens."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset, DatasetDict
from lightning.pytorch import Callback, Trainer, seed_everything
from torch.nn import functional as F

from minitf.batching import Batch
from minitf.config.compose import compose_config, to_dataclass
from minitf.config.schema import TokenizerConfig, TokenizerKind, TrainConfig
from minitf.evaluation.build import build_model
from minitf.tokenizer import TextTokenizer, train_tokenizer
from minitf.training.data import TranslationData
from minitf.training.module import TranslationModule
from minitf.training.trainer import quiet_lightning

PAIRS = [("a b c", "c b a"), ("a", "a"), ("c a b a c a b", "b a c a b a c"), ("b a", "a b")] * 5
SIZES = ["model.embed_dim=12", "model.num_heads=3", "model.feedforward_dim=13", "model.dropout=0.0"]


class _Gradients(Callback):
    """Keeps the gradients of each update, as the optimiser sees them."""

    def __init__(self) -> None:
        self.updates: list[dict[str, torch.Tensor]] = []
        self.batches: list[Batch] = []
        self.losses: list[float] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Batch, i: int) -> None:
        self.batches.append(batch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:
        self.losses.append(float(outputs["loss"]))
        if trainer.global_step > len(self.updates):  # gradients stay until the next update
            named = pl_module.model.named_parameters()
            self.updates.append({name: p.grad.clone() for name, p in named})


def _settings(*overrides: str) -> TrainConfig:
    settings = to_dataclass(compose_config(["run_dir=x", *SIZES, *overrides]))
    assert isinstance(settings, TrainConfig)
    return settings


def _fit(
    settings: TrainConfig, accumulate: int, **options: Any
) -> tuple[TranslationModule, _Gradients, TextTokenizer]:
    quiet_lightning()
    seed_everything(11, verbose=False)
    split = Dataset.from_dict({"src": [s for s, _ in PAIRS], "tgt": [t for _, t in PAIRS]})
    tokenizer = train_tokenizer(split["src"], TokenizerConfig(TokenizerKind.char, 50, 1))
    model = build_model(settings.model, "custom", tokenizer.vocab_size, tokenizer.pad_id)
    module = TranslationModule(settings, model, tokenizer)
    data = TranslationData(
        settings.batching, DatasetDict(train=split, val=split), tokenizer, seed=3
    )
    gradients = _Gradients()
    trainer = Trainer(
        max_steps=3, accumulate_grad_batches=accumulate, accelerator="cpu", precision="64-true",
        logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[gradients],
        **{"limit_val_batches": 0, **options},
    )  # fmt: skip
    trainer.fit(module, data)
    return module, gradients, tokenizer


@pytest.mark.parametrize("accumulate", [1, 3])
def test_every_target_token_of_an_update_weighs_the_same(accumulate: int) -> None:
    settings = _settings(
        "batching.tokens=40", "objective.label_smoothing=0.1", "optimizer.lr=1e-30"
    )
    module, found, tokenizer = _fit(settings, accumulate)
    assert len(found.updates) == 3
    model = module.model.double().train()
    for number, gradients in enumerate(found.updates):
        batches = found.batches[number * accumulate : (number + 1) * accumulate]
        counts = [int((b.tgt_out != tokenizer.pad_id).sum()) for b in batches]
        assert accumulate == 1 or len(set(counts)) > 1  # else a mean of means would pass
        model.zero_grad()
        total = sum(
            F.cross_entropy(
                model(b.src, b.tgt_in).flatten(0, 1),
                b.tgt_out.flatten(),
                ignore_index=tokenizer.pad_id,
                label_smoothing=0.1,
                reduction="sum",
            )
            for b in batches
        )
        (total / sum(counts)).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-9, atol=1e-12)


def test_the_norm_is_clipped_and_kept() -> None:
    settings = _settings("batching.tokens=40", "optimizer.lr=1e-30")
    module, found, _ = _fit(settings, 1, gradient_clip_val=0.01)
    for gradients in found.updates:
        norm = torch.linalg.vector_norm(torch.stack([g.norm() for g in gradients.values()]))
        assert norm.item() == pytest.approx(0.01, rel=1e-4)
    assert module._grad_norm is not None
    assert module._grad_norm.item() > 0.1


def test_r_drop_adds_the_symmetric_divergence_of_two_dropout_masks() -> None:
    settings = _settings("objective.r_drop=0.7", "objective.label_smoothing=0.0")
    module, found, tokenizer = _fit(settings, 1)
    batch = found.batches[0]
    model = module.model.double().train()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.3
    torch.manual_seed(5)
    loss, nll = module._objective(batch.src, batch.tgt)
    torch.manual_seed(5)
    logits = model(batch.src.repeat(2, 1), batch.tgt_in.repeat(2, 1))
    p, q = logits.softmax(-1).chunk(2)
    real = batch.tgt_out != tokenizer.pad_id
    both = ((p * (p / q).log()).sum(-1) + (q * (q / p).log()).sum(-1))[real].sum()
    likelihood = -(
        p.log().gather(-1, batch.tgt_out[..., None]) + q.log().gather(-1, batch.tgt_out[..., None])
    )[..., 0][real].sum()
    assert loss.item() == pytest.approx((likelihood / 2 + 0.7 * both / 4).item(), rel=1e-9)
    assert nll.item() == pytest.approx((likelihood / 2).item(), rel=1e-9)


@pytest.mark.parametrize(
    ("rank", "devices", "tokens"), [(0, 2, 3), (1, 2, 5), (0, 1, 8), (0, 3, 8), (2, 3, 0)]
)
def test_what_was_not_logged_is_taken_up_once(rank: int, devices: int, tokens: int) -> None:
    """By each device its own; where there are as many as before, else by the first."""
    module = TranslationModule(_settings(), torch.nn.Identity(), None)  # type: ignore[arg-type]
    module.trainer = SimpleNamespace(global_rank=rank, world_size=devices)  # type: ignore[assignment]
    parts = [{"totals": torch.full((n, 2), 1.0), "tokens": n} for n in (3, 5)]
    module.on_load_checkpoint({"not_logged": parts})
    assert module._total_tokens == tokens
    assert sum(float(total.sum()) for total in module._totals) == 2.0 * tokens
    assert module.tokens_not_logged == 8
    module.on_load_checkpoint({"not_logged": parts[0]})  # as one device saved it before
    assert module._total_tokens == (3 if rank == 0 else 0)
