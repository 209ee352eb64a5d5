"""The end of a run: what is printed, written and logged."""

import shlex
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import WandbLogger
from rich.console import Console

from minitf.config.errors import UserError
from minitf.config.schema import TrainConfig
from minitf.evaluation.build import attention_path, is_named_by_the_user
from minitf.evaluation.evaluate import Evaluation
from minitf.reports.curves import read_metrics, training_curves
from minitf.reports.picture import save_picture
from minitf.tokenizer import TextTokenizer
from minitf.training.callbacks import Monitor
from minitf.training.environment import environment
from minitf.training.module import TranslationModule
from minitf.training.results import print_results, samples_text, write_results


def report(
    settings: TrainConfig,
    results: dict[str, Evaluation],
    module: TranslationModule,
    trainer: Trainer,
    monitor: Monitor,
    run_dir: Path,
    console: Console,
    shown: str,
) -> None:
    """Print the results; write results.json, samples.txt and the figures; log them to wandb."""
    seconds = monitor.train_seconds
    tokens = monitor.train_tokens + module.tokens_not_logged  # of a run that is only tested again
    run: dict[str, Any] = {
        "updates": trainer.global_step,
        "parameters": sum(p.numel() for p in module.model.parameters()),
        "train_seconds": round(seconds, 3),
        "tokens_per_second": round(tokens / max(seconds, 1e-9), 1),
        **environment(trainer.strategy.root_device),
    }
    write_results(run_dir / "results.json", results, run)
    first = next(iter(results.values()))
    samples = samples_text(first, settings.evaluation.samples)
    (run_dir / "samples.txt").write_text(samples, encoding="utf-8")
    figures = write_figures(module, first, run_dir, console)
    log_results(trainer, results, figures)

    if not run["updates"]:
        console.print("no update was made: the scores are those of the weights as they started")
    quoted = shlex.quote(shown)
    target = attention_path(settings.attention)
    attention = f" --attention {target}" if is_named_by_the_user(target) else ""
    console.print()
    print_results(console, results, settings.evaluation.samples)
    console.print(
        f"\n{run['updates']:,} updates in {seconds:,.0f} s of training, "
        f"{run['tokens_per_second']:,.0f} target tokens/s on {run['device']}\n"
        f"run        {shown}   (results.json, metrics.csv, samples.txt, figures/, checkpoints/)\n"
        f"translate  minitf translate {quoted}{attention}\n"
        f"evaluate   minitf evaluate {quoted}{attention}",
        highlight=False,
    )
    wandb_logger = _wandb_logger(trainer)
    if wandb_logger is not None:
        if wandb_logger.experiment.offline:
            console.print(
                f"inspect    wandb leet {quoted}/wandb\n"
                f"upload     wandb sync {quoted}/wandb/offline-run-*",
                highlight=False,
            )
        elif url := wandb_logger.experiment.url:  # WANDB_MODE=disabled has none
            console.print(f"inspect    {url}", highlight=False)


def write_figures(
    module: TranslationModule, result: Evaluation, run_dir: Path, console: Console
) -> dict[str, Path]:
    """Training curves, and attention maps of a test sentence where one fits, as PNG files."""
    from minitf.reports.attention_maps import attention_map_figure

    directory = run_dir / "figures"
    directory.mkdir(exist_ok=True)
    figures = {}
    if (metrics := run_dir / "metrics.csv").is_file():  # no update, no metrics
        figures["curves"] = training_curves(read_metrics(metrics))
    pair = _readable_pair(module.tokenizer, result)
    if pair is None:
        console.print(
            "no attention figure: none of the translations has 1 to 40 tokens", highlight=False
        )
    else:
        ids = module.tokenizer.encode_batch(pair)
        try:
            figures["attention"] = attention_map_figure(module.model, module.tokenizer, *ids)
        except UserError as error:
            console.print(str(error), highlight=False)
    paths = {}
    for name, figure in figures.items():
        paths[name] = directory / f"{name}.png"
        if note := save_picture(figure, paths[name], dpi=130):
            console.print(note, highlight=False)
    return paths


def _readable_pair(tokenizer: TextTokenizer, result: Evaluation) -> tuple[str, str] | None:
    """A translation that fits into a picture; rather a right one of some length."""
    pairs = list(zip(result.sources, result.translations, result.references, strict=True))
    found: tuple[str, str] | None = None
    for source, translation, _ in sorted(pairs, key=lambda pair: pair[1] != pair[2]):
        lengths = [len(tokenizer.encode(text)) for text in (source, translation)]
        if min(lengths) >= 5 and max(lengths) <= 20:
            return source, translation
        if found is None and min(lengths) >= 1 and max(lengths) <= 40:
            found = source, translation
    return found


def log_results(trainer: Trainer, results: dict[str, Evaluation], figures: dict[str, Path]) -> None:
    """Scores to every logger; to wandb also the samples as a table, the figures, the summary."""
    scores = {
        f"{name}/{figure}": value
        for name, result in results.items()
        for figure, value in result.figures().items()
        if isinstance(value, float)
    }
    for logger in trainer.loggers:
        logger.log_metrics(scores, step=trainer.global_step)
        logger.save()
    wandb_logger = _wandb_logger(trainer)
    if wandb_logger is None:
        return
    import wandb

    first = next(iter(results.values()))
    columns = (first.sources, first.translations, first.references)
    rows = [list(row) for row in zip(*columns, strict=True)][:100]
    wandb_logger.log_table("samples", ["source", "translation", "reference"], rows)
    wandb_logger.experiment.log(
        {f"figures/{name}": wandb.Image(str(path)) for name, path in figures.items()}
    )


def _wandb_logger(trainer: Trainer) -> WandbLogger | None:
    return next((x for x in trainer.loggers if isinstance(x, WandbLogger)), None)
