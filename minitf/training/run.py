"""One run: data, tokenizer, model, training, test scores, samples, figures."""

import contextlib
import os
import sys
from itertools import chain
from pathlib import Path
from typing import Any, cast

from datasets import Dataset, DatasetDict
from lightning.pytorch import Trainer, seed_everything
from omegaconf import DictConfig
from rich.console import Console

from minitf.batching import EncodedPairs
from minitf.config.compose import plain, require_complete, to_dataclass, typed
from minitf.config.memory import told_of_memory
from minitf.config.onednn import bound_onednn
from minitf.config.schema import ModelConfig, TrainConfig
from minitf.data import load_data
from minitf.data.cache import user_cache_dir
from minitf.data.hub import local_path
from minitf.evaluation import Translator
from minitf.evaluation.build import attention_path, build_model, is_named_by_the_user
from minitf.evaluation.checkpoints import (
    average_checkpoints,
    kept_checkpoints,
    model_weights,
    read_checkpoint,
)
from minitf.evaluation.evaluate import Evaluation, evaluate
from minitf.model import ATTENTION_ROLES
from minitf.tokenizer import TextTokenizer, train_tokenizer
from minitf.training.callbacks import (
    Autosave,
    EpochEnd,
    FinalValidation,
    Interruption,
    Monitor,
    Progress,
    RandomState,
)
from minitf.training.checkpoint_io import AtomicCheckpointIO
from minitf.training.checks import check_cuda_graphs, check_lengths, check_settings
from minitf.training.data import TranslationData
from minitf.training.directory import RANK_CONFIG, begin, held, shown
from minitf.training.environment import device_name
from minitf.training.fit import fit
from minitf.training.loggers import build_loggers
from minitf.training.module import TranslationModule
from minitf.training.optimizer import check_end
from minitf.training.report import report
from minitf.training.resume_point import resume_point
from minitf.training.sweep import Sweep
from minitf.training.trainer import (
    build_trainer,
    checkpoint_callbacks,
    quiet_lightning,
    user_callbacks,
)


def train(config: DictConfig, sweep: Sweep | None = None) -> float | None:
    """Run a configuration from data to test scores.

    Args:
        config: what `compose_config` gives; its `run_dir` gets every file of the run.
        sweep: the sweep that this run belongs to.

    Returns:
        The best validation loss, for sweepers; None on the ranks that did not evaluate.

    Raises:
        UserError: whatever a user can put right.
        Interrupted: a signal ended the training; the run can be resumed.
    """
    rank_zero = os.environ.get("LOCAL_RANK", "0") == "0" and os.environ.get("RANK", "0") == "0"
    run_dir = Path(config.run_dir).resolve()
    resume = config.resume is not None
    os.environ[RANK_CONFIG] = str(run_dir / "config.yaml")
    bound_onednn()
    try:
        with held(run_dir, resume=resume) if rank_zero else contextlib.nullcontext():
            config = typed(config)
            require_complete(config)
            _settle_paths(config)
            settings = cast(TrainConfig, to_dataclass(config))
            check_settings(settings)
            quiet_lightning()
            seed_everything(settings.seed, verbose=False)
            console = Console(quiet=not rank_zero, soft_wrap=True, markup=False)
            return _train(settings, plain(config), run_dir, sweep, console, rank_zero)
    finally:
        os.environ.pop(RANK_CONFIG, None)
        if (wandb := sys.modules.get("wandb")) is not None and wandb.run is not None:
            wandb.finish()


def _settle_paths(config: DictConfig) -> None:
    """Make paths absolute: good in any directory from now on."""
    if root := config.data.get("root"):
        config.data.root = os.path.abspath(os.path.expanduser(root))
    if path := config.data.get("path"):
        config.data.path = local_path(path)
    if path := config.tokenizer.path:
        config.tokenizer.path = os.path.abspath(os.path.expanduser(path))


def _train(
    settings: TrainConfig,
    stored: dict[str, Any],
    run_dir: Path,
    sweep: Sweep | None,
    console: Console,
    rank_zero: bool,
) -> float | None:
    console.print(f"data       {_describe(settings.data)}", highlight=False)
    splits = load_data(settings.data, user_cache_dir())
    resume = settings.resume is not None
    if resume or (not rank_zero and (run_dir / "tokenizer.json").is_file()):
        tokenizer = TextTokenizer.load(run_dir / "tokenizer.json")
    else:
        tokenizer = new_tokenizer(settings, splits["train"])
    model = build_model(settings.model, settings.attention, tokenizer.vocab_size, tokenizer.pad_id)
    data = TranslationData(
        settings.batching,
        splits,
        tokenizer,
        settings.seed,
        settings.tokenizer.dropout,
        user_cache_dir(),
        fixed_shapes=settings.cuda_graphs,
    )
    check_lengths(settings, model, data, splits, tokenizer)
    options = dict(settings.trainer)
    if is_named_by_the_user(attention_path(settings.attention)):
        # What validation and decoding ask of a class is tried before the first update.
        options["num_sanity_val_steps"] = options.get("num_sanity_val_steps") or 1
    if settings.tokenizer.dropout:
        options["reload_dataloaders_every_n_epochs"] = 1  # each epoch cuts its words anew
    stored = {
        "config": stored, "tokenizer": tokenizer.fingerprint, "data": splits["train"]._fingerprint
    }  # fmt: skip
    read = splits["val"].select(data.pairs[1].rows)  # without those that are left out as too long
    module = TranslationModule(
        settings, model, tokenizer, _pairs(read, settings.evaluation.val_bleu_sentences), stored
    )

    monitor = Monitor(settings.trainer.get("log_every_n_steps") or 50)
    best, *others = checkpoint_callbacks(run_dir / "checkpoints", settings.evaluation)
    last = run_dir / "checkpoints" / "last.ckpt"
    interruption = Interruption(lambda: trainer.save_checkpoint(last))
    trainer = build_trainer(
        options,
        run_dir,
        [
            *user_callbacks(settings.callbacks),
            EpochEnd(),
            RandomState(),
            monitor,
            *([Progress(monitor, console)] if options.get("enable_progress_bar", True) else []),
            best,
            *others,
            FinalValidation(),
            Autosave(lambda: trainer.save_checkpoint(last)),
            interruption,
        ],
    )
    if settings.cuda_graphs:
        check_cuda_graphs(settings, trainer)
    check_end(settings.schedule, trainer.max_steps != -1 or trainer.max_epochs != -1)
    point = resume_point(last, stored, model, trainer.world_size) if resume else None
    done = point is not None and point.is_end(trainer.max_steps, trainer.max_epochs, shown(run_dir))
    if rank_zero:
        begin(run_dir, stored["config"], tokenizer, resume=resume)
        resumed_at = point.updates if point else None
        trainer.loggers = build_loggers(
            settings.logger, stored["config"], run_dir, sweep, resumed_at
        )
    console.print(
        f"           {_counted('training pairs', data.pairs[0])},"
        f" {_counted('validation', data.pairs[1])}{_held_out(settings.data)},"
        f" vocabulary {tokenizer.vocab_size:,}\n"
        f"{_taken_from(settings.tokenizer.path)}"
        f"model      {sum(p.numel() for p in model.parameters()):,} parameters,"
        f" attention {attention_path(settings.attention)}{_only_in(settings.model)}\n"
        f"device     {device_name(trainer.strategy.root_device)}, {trainer.precision}\n"
        f"run        {shown(run_dir)}",
        highlight=False,
    )
    if point and done:
        made, limit = (point.updates, "updates"), "max_steps"
        if point.updates != trainer.max_steps:
            made, limit = (point.epochs, "epochs"), "max_epochs"
        console.print(
            f"           it has made {made[0]:,} {made[1]} already and is tested again; "
            f"trainer.{limit} above that trains on",
            highlight=False,
        )
    elif point and point.is_cut_anew:
        console.print(
            "           the data fall into other batches than before: in the epoch that goes on, "
            "some pairs come twice and others not at all",
            highlight=False,
        )
    fit(settings, trainer, module, data, interruption, run_dir, console)
    if not trainer.is_global_zero:
        return None
    results = _test(settings, module, splits, run_dir, trainer, console)
    report(settings, results, module, trainer, monitor, run_dir, console, shown(run_dir))
    return None if best.best_model_score is None else float(best.best_model_score)


def new_tokenizer(settings: TrainConfig, split: Dataset) -> TextTokenizer:
    """A tokenizer of the training split, or the one that the configuration names."""
    texts = chain.from_iterable(split[column] for column in ("src", "tgt"))
    return train_tokenizer(
        texts, settings.tokenizer, user_cache_dir(), text_digest=split._fingerprint
    )


def _pairs(split: Dataset, limit: int | None) -> tuple[list[str], list[str]]:
    chosen = split if limit is None else split.select(range(min(limit, len(split))))
    return list(chosen["src"]), list(chosen["tgt"])


def _test(
    settings: TrainConfig,
    module: TranslationModule,
    splits: DatasetDict,
    run_dir: Path,
    trainer: Trainer,
    console: Console,
) -> dict[str, Evaluation]:
    """Scores of the best weights, or of the average that is asked for, on every test split."""
    directory = run_dir / "checkpoints"
    (directory / "average.ckpt").unlink(missing_ok=True)  # of an earlier part of the run
    evaluation = settings.evaluation
    if number := evaluation.average_last or evaluation.average_best:
        averaged = kept_checkpoints(run_dir, "last" if evaluation.average_last else "best", number)
        state = average_checkpoints(averaged)
        console.print(f"average    of {len(averaged)} checkpoints", highlight=False)
        content = {
            "state_dict": {f"model.{name}": weight for name, weight in state.items()},
            "minitf": module.stored,
        }
        AtomicCheckpointIO().save_checkpoint(content, directory / "average.ckpt")
        module.model.load_state_dict(state)
    else:  # without a validation there is no best
        best, last = directory / "best.ckpt", directory / "last.ckpt"
        module.model.load_state_dict(
            model_weights(read_checkpoint(best if best.is_file() else last))
        )
    module.to(trainer.strategy.root_device)
    translator = Translator(module.model, module.tokenizer, settings, str(directory))
    limit = settings.evaluation.test_sentences
    names = [name for name in splits if name not in ("train", "val")] or ["val"]
    results = {}
    for name in names:
        sources, references = _pairs(splits[name], limit)
        console.print(f"testing    {name}: {len(sources):,} sentences", highlight=False)
        advice = ": the run can be tested again, with a smaller evaluation.decoding.batch_tokens"
        with told_of_memory(advice):
            results[name] = evaluate(translator, sources, references, name=name, with_ter=False)
    return results


def _counted(kind: str, pairs: EncodedPairs) -> str:
    counts = ((pairs.num_skipped, "left out"), (pairs.num_truncated, "cut"))
    long = [f"{n:,} too long {what}" for n, what in counts if n]
    return f"{len(pairs):,} {kind}" + (f" ({long[0]})" if long else "")


def _only_in(model: ModelConfig) -> str:
    everywhere = set(model.attention_in) == set(ATTENTION_ROLES)
    return "" if everywhere else f", in {', '.join(model.attention_in)} alone"


def _held_out(data: Any) -> str:
    return " (held out of train)" if getattr(data, "val", "") is None else ""


def _taken_from(tokenizer: str | None) -> str:
    unread = "tokenizer.name, vocab_size and min_frequency are not read"
    return "" if tokenizer is None else f"tokenizer  {tokenizer}; {unread}\n"


def _describe(data: Any) -> str:
    options = {k: v for k, v in vars(data).items() if k in ("root", "path", "train") and v}
    return " ".join([data.name, *(f"{k}={v}" for k, v in options.items())])
