"""What is refused before the data are read."""

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from minitf.attention import MultiHeadAttention
from minitf.config import UserError
from minitf.config.compose import compose_config, to_dataclass
from minitf.model import Transformer
from minitf.training.checks import (
    check_cuda_graphs,
    check_decoding,
    check_finite,
    check_settings,
    notes_on_batches,
)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=-1"], "seed must be from 0 to 4294967295; got -1"),
        (["optimizer.lr=-1"], "optimizer.lr must be above 0 and finite; got -1"),
        (["schedule.min_ratio=2"], r"schedule.min_ratio must be in \[0, 1\]; got 2"),
        (["objective.label_smoothing=1.5"], "label_smoothing must be at least 0 and below 1"),
        (["objective.r_drop=-1"], "objective.r_drop must be at least 0; got -1"),
        (["objective.r_drop=nan"], "objective.r_drop must be at least 0; got nan"),
        (["optimizer.lr=nan"], "optimizer.lr must be above 0 and finite; got nan"),
        (["batching.num_workers=-1"], "batching.num_workers must be at least 0; got -1"),
        (["evaluation.test_sentences=0"], "evaluation.test_sentences must be at least 1; got 0"),
        (["evaluation.average_last=-1"], "evaluation.average_last must be at least 0; got -1"),
        (["evaluation.tokenize=14a"], "evaluation.tokenize='14a': sacrebleu has no such tokenizer"),
        (["attention._target_=no.Such"], "attention=no.Such: cannot import no "),
        (["evaluation.samples=-1"], "evaluation.samples must be at least 0; got -1"),
        (["evaluation.decoding.beam_size=0"], "^evaluation.decoding.beam_size must be at least 1"),
        (["evaluation.decoding.batch_tokens=0"], "evaluation.decoding.batch_tokens must be at"),
        (
            ["trainer.val_check_interval=8", "trainer.accumulate_grad_batches=3"],
            "val_check_interval=8 is no multiple of trainer.accumulate_grad_batches=3",
        ),
        (["batching.tokens=0"], "batching.tokens must be at least 1, got 0"),
        (["objective.r_drop=1"], "r_drop=1.0 compares two passes with dropout, .* raise one"),
        (["trainer.accumulate_grad_batches=-2"], "accumulate_grad_batches must be at least 1; got"),
        (["trainer.accumulate_grad_batches=0"], "accumulate_grad_batches must be at least 1; got"),
        (["trainer.accumulate_grad_batches=2.5"], "batches must be a whole number; got 2.5"),
        (["trainer.max_steps=1.5"], "trainer.max_steps must be a whole number; got 1.5"),
        (["trainer.gradient_clip_val=-1"], "gradient_clip_val must be at least 0, or null; got -1"),
        (["trainer.val_check_interval=0"], "trainer.val_check_interval must be above 0; got 0"),
        (["trainer.check_val_every_n_epoch=0"], "every_n_epoch must be at least 1; got 0"),
        (["trainer.log_every_n_steps=0"], "trainer.log_every_n_steps must be at least 1; got 0"),
        (
            ["data=text_files", "data.root=x", "data.tests=[test,updates]"],
            "^data.tests: updates is a key of results.json itself: choose another name",
        ),
        (
            ["data=text_files", "data.root=x", "data.tests=['sub/{lang}/torch']"],
            "^data.tests: torch is a key of results.json itself: choose another name",
        ),
        (["data.seed=-1"], "data.seed must be at least 0; got -1"),
        (["logger.wandb=false"], r"wandb.init, or null for none \(logger=csv\); got False"),
        (["batching.tokens=null"], "tokens=None, sentences=None; give one of them a number"),
        (["batching.sentences=8"], r"tokens=\d+, sentences=8; set the other to null"),
        (["trainer.val_check_interval=0.5"], "0.5 is a share of an epoch, .*every_n_epoch=1; or"),
        (["trainer.max_time=3s"], "trainer.max_time reads DD:HH:MM:SS, as in .*; got '3s'"),
        (["+trainer.overfit_batches=1"], "overfit_batches would .*: batching.limit_pairs=N"),
        (["trainer.strategy=fsdp"], "strategy=fsdp cuts the model in parts, .* use ddp"),
    ],
)
def test_a_number_out_of_range_is_named(overrides: list[str], message: str) -> None:
    settings = to_dataclass(compose_config([*overrides, "run_dir=run"]))
    with pytest.raises(UserError, match=message):
        check_settings(settings)


def test_the_defaults_pass() -> None:
    check_settings(to_dataclass(compose_config(["run_dir=run"])))


def test_splits_of_tables_and_hubs_keep_their_whole_names() -> None:
    hub = ["data=hub", "data.path=p", "data.tests=[a/test,b/test]", "run_dir=run"]
    check_settings(to_dataclass(compose_config(hub)))


@pytest.mark.parametrize(
    ("trainer", "message"),
    [
        ({"device": "cpu"}, "needs an NVIDIA GPU, and the run is on cpu: set cuda_graphs=false"),
        ({"world_size": 2}, "on one GPU, got 2 of SingleDeviceStrategy: set trainer.devices=1"),
        ({"ddp": True}, "on one GPU, got 1 of DDPStrategy: set trainer.devices=1"),
        ({"precision": "16-mixed"}, "trainer.precision=bf16-mixed or 32-true; got 16-mixed"),
        (
            {"override": "trainer.detect_anomaly=true"},
            "looks at each gradient, .* cuda_graphs=false",
        ),
        ({"override": "tokenizer.dropout=0.1"}, "tokenizer.dropout=0.1 gives others in each epoch"),
    ],
)
def test_what_cannot_be_recorded(trainer: dict[str, Any], message: str) -> None:
    def check(
        device: str = "cuda",
        ddp: bool = False,
        override: str = "seed=1",
        **options: Any,
    ) -> None:
        settings = to_dataclass(compose_config(["run_dir=run", override]))
        where = torch.device(device, 0)
        strategy = SingleDeviceStrategy(where)
        if ddp:
            strategy = DDPStrategy(
                parallel_devices=[where], cluster_environment=LightningEnvironment()
            )
        given: Any = {"strategy": strategy, "world_size": 1, "precision": "bf16-mixed", **options}
        check_cuda_graphs(settings, SimpleNamespace(**given))  # type: ignore[arg-type]

    check()
    with pytest.raises(UserError, match=message):
        check(**trainer)


class SeesTheFuture(MultiHeadAttention):
    supports_cache = False

    def forward(self, query, key, value, attn_mask=None, is_causal=False, **kwargs):
        if is_causal:  # off by one
            attn_mask = torch.ones_like(attn_mask).triu(2)
        return super().forward(query, key, value, attn_mask=attn_mask, **kwargs)


class ForgetsThePadding(MultiHeadAttention):
    def forward(self, *args, key_padding_mask=None, **kwargs):
        return super().forward(*args, **kwargs)


class LooksStraightOn(MultiHeadAttention):
    supports_cache = False

    def forward(self, query, key, value, **kwargs):
        if query is not key:
            i = torch.arange(query.shape[1])[:, None]
            kwargs["attn_mask"] = (i - torch.arange(key.shape[1])).abs() > 1 + i
        return super().forward(query, key, value, **kwargs)


@pytest.fixture
def model_and_batch():
    def make(attention):
        torch.manual_seed(3)
        model = Transformer(31, embed_dim=24, feedforward_dim=37, attention=attention).eval()
        src, tgt = torch.randint(3, 31, (2, 7)), torch.randint(3, 31, (2, 11))
        src[1, 5:] = 0
        return model, src, tgt

    return make


def test_an_attention_without_a_cache_that_sees_the_future_is_refused(model_and_batch):
    check_decoding(*model_and_batch(MultiHeadAttention))
    check_decoding(*model_and_batch(torch.nn.MultiheadAttention))
    with pytest.raises(UserError, match="where later target tokens are not there yet"):
        check_decoding(*model_and_batch(SeesTheFuture))


def test_what_depends_on_the_rest_of_the_batch_is_told(model_and_batch):
    assert notes_on_batches(*model_and_batch(MultiHeadAttention)) == []
    (note,) = notes_on_batches(*model_and_batch(ForgetsThePadding))
    assert note.startswith("attention: two more padding tokens change the output by ")
    (note,) = notes_on_batches(*model_and_batch(LooksStraightOn))
    assert note.startswith("attention: beam search gives cross-attention a sentence's beams as one")


@pytest.mark.parametrize(
    ("kind", "update", "says"),
    [
        ("training", 1, "before any weight has changed: it comes from the attention or"),
        ("training", 2, "became nan at update 2; try a lower optimizer.lr"),
        ("validation", 1, "became nan at update 1; try a lower optimizer.lr"),
    ],
)
def test_what_a_loss_that_is_no_number_comes_from(kind: str, update: int, says: str) -> None:
    with pytest.raises(UserError, match=says):
        check_finite(kind, math.nan, update)
