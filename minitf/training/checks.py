"""What is refused in one line, as early as it shows: most of it before the data are read."""

import math
import re
from typing import Any

import torch
import torch.nn.functional as F
from datasets import DatasetDict
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from minitf.batching import check_size
from minitf.config import UserError
from minitf.config.schema import EvaluationConfig, TrainConfig
from minitf.data.text_files import named_splits
from minitf.decoding import check_options
from minitf.evaluation.build import attention_factory
from minitf.evaluation.metrics import bleu_metric
from minitf.model import Transformer
from minitf.tokenizer import TextTokenizer
from minitf.training.data import TranslationData
from minitf.training.optimizer import check_optimizer, check_schedule
from minitf.training.results import results_keys

_DURATION = re.compile(r"\d+:\d\d:\d\d:\d\d")

_ROUNDING = 0.05
"""Of the largest number, more than half precision makes of one sum in several orders."""

CACHE_RULE = (
    "in decoding, `cache` holds the keys of earlier steps and the query is the newest token: a "
    "class that must see whole sentences sets supports_cache = False"
)
"""What the author of an attention has to know, where his goes wrong with a cache."""

LARGEST_SEED = 2**32 - 1


def check_settings(settings: TrainConfig) -> None:
    """Check the numbers that only later parts of a run would look at.

    Raises:
        UserError: one is out of range, with the range.
    """
    if not 0 <= settings.seed <= LARGEST_SEED:
        raise UserError(f"seed must be from 0 to {LARGEST_SEED}; got {settings.seed}")
    if settings.batching.num_workers < 0:
        raise UserError(
            f"batching.num_workers must be at least 0; got {settings.batching.num_workers}"
        )
    check_size(settings.batching.tokens, settings.batching.sentences)
    attention_factory(settings.attention)  # that there is such a class, with such options
    check_optimizer(settings.optimizer)
    check_schedule(settings.schedule)
    smoothing = settings.objective.label_smoothing
    if not 0 <= smoothing < 1:
        raise UserError(
            f"objective.label_smoothing must be at least 0 and below 1; got {smoothing}"
        )
    if not 0 <= settings.objective.r_drop < math.inf:
        raise UserError(f"objective.r_drop must be at least 0; got {settings.objective.r_drop}")
    if settings.objective.r_drop and not _drops(settings):
        raise UserError(
            f"objective.r_drop={settings.objective.r_drop} compares two passes with dropout, and "
            "model.dropout, model.attention_dropout and model.activation_dropout are 0: raise one"
        )
    _check_trainer(settings.trainer)
    interval = settings.trainer.get("val_check_interval")
    window = settings.trainer.get("accumulate_grad_batches") or 1
    if isinstance(interval, int) and isinstance(window, int) and interval % window:
        raise UserError(
            f"trainer.val_check_interval={interval} is no multiple of "
            f"trainer.accumulate_grad_batches={window}: a checkpoint in the middle of an update "
            "cannot be resumed"
        )
    strategy = str(settings.trainer.get("strategy"))
    if any(name in strategy for name in ("fsdp", "deepspeed", "model_parallel")):
        raise UserError(
            f"trainer.strategy={strategy} cuts the model in parts, which minitf does not train; "
            "use ddp, with the whole model on each device"
        )
    tests = list(getattr(settings.data, "tests", None) or ())
    names = named_splits("train", None, tests) if settings.data.name == "text_files" else tests
    if taken := sorted(results_keys().intersection(names)):
        raise UserError(
            f"data.tests: {taken[0]} is a key of results.json itself: choose another name"
        )
    seed = getattr(settings.data, "seed", 0)
    if seed < 0:  # whose sentences would be those of the positive one
        raise UserError(f"data.seed must be at least 0; got {seed}")
    wandb = settings.logger.get("wandb")
    if not (wandb is None or isinstance(wandb, dict)):
        raise UserError(
            f"logger.wandb holds options of wandb.init, or null for none (logger=csv); got {wandb}"
        )
    _check_evaluation(settings.evaluation)


def _drops(settings: TrainConfig) -> bool:
    model = settings.model
    return max(model.dropout, model.attention_dropout, model.activation_dropout) > 0


def _check_trainer(options: dict[str, Any]) -> None:
    """Check what Lightning takes without a word, or stumbles over."""
    whole = {"accumulate_grad_batches": 1, "check_val_every_n_epoch": 1, "max_steps": -1,
             "log_every_n_steps": 1}  # fmt: skip
    for name, least in whole.items():
        value = options.get(name)
        if value is not None and (not isinstance(value, int | str) or isinstance(value, bool)):
            raise UserError(f"trainer.{name} must be a whole number; got {value}")
        if isinstance(value, int) and value < least:
            raise UserError(f"trainer.{name} must be at least {least}; got {value}")
    if isinstance(clip := options.get("gradient_clip_val"), int | float) and not clip >= 0:
        raise UserError(f"trainer.gradient_clip_val must be at least 0, or null; got {clip}")
    if isinstance(every := options.get("val_check_interval"), int | float) and not every > 0:
        raise UserError(f"trainer.val_check_interval must be above 0; got {every}")
    if isinstance(every, float) and options.get("check_val_every_n_epoch") is None:
        raise UserError(
            f"trainer.val_check_interval={every} is a share of an epoch, which goes with "
            "trainer.check_val_every_n_epoch=1; or give a whole number of batches"
        )
    if options.get("overfit_batches"):
        raise UserError(
            "trainer.overfit_batches would give others in each epoch: batching.limit_pairs=N "
            "trains on the first N pairs alone, and debug=overfit is made for it"
        )
    if isinstance(most := options.get("max_time"), str) and not _DURATION.fullmatch(most):
        raise UserError(f"trainer.max_time reads DD:HH:MM:SS, as in 00:01:30:00; got {most!r}")


def check_cuda_graphs(settings: TrainConfig, trainer: Trainer) -> None:
    """Check that an update can be recorded.

    Raises:
        UserError: there is no GPU, or not one alone, the loss is scaled or looked at, or the
            batches have other shapes in each epoch.
    """
    device = trainer.strategy.root_device
    if device.type != "cuda":
        raise UserError(
            f"cuda_graphs=true needs an NVIDIA GPU, and the run is on {device.type}: set "
            "cuda_graphs=false"
        )
    if trainer.world_size > 1 or not isinstance(trainer.strategy, SingleDeviceStrategy):
        name = type(trainer.strategy).__name__
        raise UserError(
            f"cuda_graphs=true trains on one GPU, got {trainer.world_size} of {name}: set "
            "trainer.devices=1 and leave trainer.strategy out, or set cuda_graphs=false"
        )
    if trainer.precision == "16-mixed":
        raise UserError(
            "cuda_graphs=true goes with trainer.precision=bf16-mixed or 32-true; got 16-mixed, "
            "whose scaled loss is not recorded"
        )
    if settings.trainer.get("detect_anomaly"):
        raise UserError(
            "trainer.detect_anomaly=true looks at each gradient, which cannot be recorded: set "
            "cuda_graphs=false"
        )
    if settings.tokenizer.dropout:
        raise UserError(
            "cuda_graphs=true records each shape of batch once, and tokenizer.dropout="
            f"{settings.tokenizer.dropout} gives others in each epoch: set one of the two to false "
            "or 0"
        )


def check_lengths(
    settings: TrainConfig,
    model: Transformer,
    data: TranslationData,
    splits: DatasetDict,
    tokenizer: TextTokenizer,
) -> None:
    """Check that the model has positions for every sentence that it will read.

    Raises:
        UserError: one is longer; the split is named.
    """
    most = model.max_positions
    if most is None:
        return
    if settings.tokenizer.dropout and settings.batching.max_length > most:
        raise UserError(
            f"tokenizer.dropout cuts sentences into up to batching.max_length="
            f"{settings.batching.max_length} tokens, and model.positions=learned has vectors for "
            f"model.max_length={most}: raise the one or lower the other"
        )
    longest = {"train": data.longest}
    for name, split in splits.items():
        if name != "train":  # read whole, whatever batching.max_length leaves out of training
            read = split[: None if name == "val" else settings.evaluation.test_sentences]
            texts = [*read["src"], *read["tgt"]]
            longest[name] = 1 + max(map(len, tokenizer.encode_batch(texts)))
    for name, length in longest.items():
        if length > most:
            raise UserError(
                f"model.positions=learned has vectors for model.max_length={most} positions, but "
                f"a sentence of {name} has {length:,} tokens: raise model.max_length, or shorten it"
            )


def check_finite(kind: str, loss: float, update: int) -> None:
    """Check a loss, of training or validation.

    Raises:
        UserError: it is infinite or NaN, with what may help.
    """
    if math.isfinite(loss):
        return
    if (kind, update) == ("training", 1):
        raise UserError(
            f"the training loss is {loss} at update 1, before any weight has changed: it comes "
            "from the attention or trainer.precision, not from the learning rate"
        )
    raise UserError(
        f"the {kind} loss became {loss} at update {update}; try a lower optimizer.lr, a longer "
        "schedule.warmup_steps, or trainer.gradient_clip_val=1.0"
    )


@torch.no_grad()
def check_decoding(model: Transformer, src: Tensor, tgt: Tensor) -> None:
    """Check that decoding step by step, with a cache or without, computes what training does.

    Args:
        model: in evaluation mode.
        src: (B, S) source tokens.
        tgt: (B, T) target tokens.

    Raises:
        UserError: it computes something else: an own attention's `cache`, or its mask beside it.
    """
    memory, padding = model.encode(src), model.src_padding_mask(src)
    whole = model.decode(tgt, memory, padding)
    if (state := model.new_state()) is None:
        difference = 0.0
        for length in (1, max(tgt.size(1) // 2, 1)):  # of the first token a single later one shows
            prefix = model.decode(tgt[:, :length], memory, padding)
            apart = float((prefix - whole[:, :length]).abs().max() / whole.abs().max())
            difference = max(difference, apart)
        if not difference < _ROUNDING:
            raise UserError(
                "attention: where later target tokens are not there yet, as in decoding, the "
                f"decoder's output is not what training computes ({difference:.0%} of the largest "
                "number apart): self-attention must obey attn_mask, the causal mask"
            )
        return
    steps = [model.decode(tgt[:, t : t + 1], memory, padding, state) for t in range(tgt.size(1))]
    difference = float((torch.cat(steps, 1) - whole).abs().max() / whole.abs().max())
    if not difference < _ROUNDING:
        raise UserError(
            "attention: with a cache, as in decoding, the decoder's output is not what training "
            f"computes ({difference:.0%} of the largest number apart); {CACHE_RULE}"
        )


@torch.no_grad()
def notes_on_batches(model: Transformer, src: Tensor, tgt: Tensor) -> list[str]:
    """What to tell where a sentence's output depends on what is computed beside it.

    Args:
        model: in evaluation mode.
        src: (B, S) source tokens.
        tgt: (B, T) target tokens.
    """
    memory, mask = model.encode(src), model.src_padding_mask(src)
    whole = model.decode(tgt, memory, mask)
    padded = model.hidden(F.pad(src, (0, 2), value=model.pad_id), tgt)
    second_beams = model.decode(tgt.repeat_interleave(2, 0), memory, mask)[1::2]
    padding, beams = (
        float((found - whole).abs().max() / whole.abs().max()) for found in (padded, second_beams)
    )
    notes = []
    if not padding < _ROUNDING:
        notes.append(
            f"attention: two more padding tokens change the output by {padding:.0%} of its largest "
            "number, so a translation depends on its batch; is key_padding_mask left out?"
        )
    if not beams < _ROUNDING:
        notes.append(
            "attention: beam search gives cross-attention a sentence's beams as one longer query, "
            f"which changes the output by {beams:.0%} of its largest number: let no query depend "
            "on its position there, or decode greedily"
        )
    return notes


def _check_evaluation(evaluation: EvaluationConfig) -> None:
    least = {
        "val_bleu_sentences": 0, "test_sentences": 1, "average_last": 0, "average_best": 0,
        "samples": 0,
    }  # fmt: skip
    for name, lowest in least.items():
        value = getattr(evaluation, name)
        if value is not None and value < lowest:
            raise UserError(f"evaluation.{name} must be at least {lowest}; got {value}")
    if evaluation.tokenize not in ("13a", "none"):  # sacrebleu takes a moment to load
        bleu_metric(tokenize=evaluation.tokenize)
    try:
        check_options(evaluation.decoding)
    except UserError as error:
        raise UserError(str(error).replace("decoding.", "evaluation.decoding.")) from error
