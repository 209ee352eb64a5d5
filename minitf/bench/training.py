"""Training: target tokens per second of an update, of everybody, on the same batches."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import cast

import torch
from omegaconf import OmegaConf

from minitf.batching import Batch
from minitf.bench.hardware import (
    FORMULA,
    peak_of,
    peak_remark,
    peak_worker,
    training_flops,
)
from minitf.bench.rounds import Implementation, Measured, measure
from minitf.bench.rows import Failure, Findings, Row, median_and_spread, with_ratios
from minitf.bench.task import TrainingTask
from minitf.config import UserError
from minitf.config.compose import compose_config, plain, require_complete, to_dataclass
from minitf.config.schema import Norm, TrainConfig
from minitf.data import load_data
from minitf.tokenizer import TextTokenizer
from minitf.training.data import TranslationData
from minitf.training.run import new_tokenizer

BARE = {
    "minitf": "own",
    "minitf fast": "own:fast",
    "torch.nn.Transformer": "torch_transformer",
    "transformers Marian": "hugging_face:marian",
    "transformers M2M100": "hugging_face:m2m100",
    "x-transformers": "lucidrains",
}
"""Models in a bare loop, by name: a file of `minitf.bench.alternatives`, and its function."""

SIZES = {"cpu": ("tiny", "small"), "cuda": ("base", "big")}
"""Of configs/model, by device; `model=NAME` on the command line measures that one alone."""

PRECISIONS = ("float32", "bfloat16")

_FORCED = (
    "attention=custom", "attention.kernel=auto", "optimizer=adam", "optimizer.weight_decay=0",
    "logger=csv", "tokenizer.dropout=0", "objective.r_drop=0",
    "trainer.accumulate_grad_batches=1", "trainer.gradient_clip_val=1.0", "trainer.max_steps=-1",
    "trainer.max_epochs=-1", "trainer.max_time=null", "trainer.limit_val_batches=0",
    "trainer.limit_train_batches=null", "evaluation.average_last=0", "schedule=inverse_sqrt",
    "schedule.name=inverse_sqrt",
    "evaluation.val_bleu_sentences=0",
    "model.positions=sinusoidal", "model.activation=relu", "model.tied_embeddings=three_way",
    "model.attention_dropout=0", "model.activation_dropout=0", "compile=false", "cuda_graphs=false",
)  # fmt: skip
"""One micro-batch an update, no validation, and only what every library can do."""


_OF_THE_BENCH = {
    "trainer.precision": "use --precision",
    "trainer.accelerator": "it measures the GPU where there is one, else the CPU",
    "trainer.devices": "it measures one device",
}

CUDA_BATCH = 25_000
"""Source and target positions of a batch on a GPU where none is given: fewer leave it idle."""


_COMPILED = ("", "+compile", "+graphs")
"""Not at all; torch.compile; the same with CUDA graphs."""

_COMPILE_TOGETHER = 4
"""Compiling takes a minute and little of the device; the memory must do for so many."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int
    positions: int
    """Source and target positions of a round's batches; at least one batch."""
    precisions: tuple[str, ...]


@dataclass(frozen=True)
class StoredBatches:
    """What `store_batches` wrote."""

    file: Path
    steps: int
    """Batches, and so updates, in a round."""
    tokens: list[tuple[int, int]]
    """Source and target tokens of each batch, the warm-up's first."""
    tokenizer: TextTokenizer


def plan(quick: bool, device: str) -> Plan:
    """Two minutes, or some twelve with both precisions."""
    positions = 8_192 if device == "cpu" else 262_144
    return Plan(3, positions, PRECISIONS[:1]) if quick else Plan(9, positions, PRECISIONS)


def run(
    quick: bool,
    overrides: Sequence[str] = (),
    compile: bool = False,
    precision: str | None = None,
) -> Findings:
    """Measure this machine.

    Args:
        quick: few rounds, in float32 alone.
        overrides: as for `python train.py`: data, batching, model.
        compile: also measure each under torch.compile at every precision, and on a GPU with CUDA
            graphs.
        precision: of `PRECISIONS`, this one alone.

    Returns:
        Rows of tokens/s for each size: `training/SIZE/PRECISION/DEVICE`, and of the full run
        `training/SIZE/best/DEVICE`, where each is at its own best.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    _refuse_forced(overrides)
    if device == "cuda" and not any(o.startswith(("batching.", "experiment=")) for o in overrides):
        overrides = [*overrides, f"batching.tokens={CUDA_BATCH}"]
    settled = plan(quick, device)
    chosen = tuple(o.partition("=")[2] for o in overrides if o.startswith("model="))
    others = [o for o in overrides if not o.startswith("model=")]
    found = Findings([], [], [FORMULA])
    ways = _COMPILED[: 1 if not compile else 3 if device == "cuda" else 2]
    precisions = (precision,) if precision else settled.precisions
    modes = [(p, suffix) for p in precisions for suffix in ways]
    with tempfile.TemporaryDirectory(prefix="minitf-bench-") as directory:
        batches: StoredBatches | None = None
        for size in chosen or SIZES[device]:
            settings = compose_settings([*others, f"model={size}", *_FORCED])
            batches = batches or store_batches(
                settings,
                Path(directory),
                settled.rounds + 1,
                settled.positions,
                whole_epochs=compile and device == "cuda",
            )
            task = task_of(settings, batches, device)
            found.remarks.append(_remark(size, task, batches, settled.rounds))
            for dtype, suffix in modes:
                variant = replace(
                    task, precision=dtype, compile=suffix != "", graphs=suffix == "+graphs"
                )
                work = f"training/{size}/{dtype}{suffix}/{device}"
                _measure(work, variant, settings, batches, settled.rounds, found)
            found.rows.extend(best_rows(found.rows, size, device))
    return found


def _refuse_forced(overrides: Sequence[str]) -> None:
    """Refuse what would be overridden without a word.

    Raises:
        UserError: an override of what is the same for everybody.
    """
    forced = {text.partition("=")[0] for text in _FORCED}
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        if key in _OF_THE_BENCH or key.startswith(("callbacks", "optimizer.", "schedule.")):
            advice = _OF_THE_BENCH.get(key, "it would change one row alone")
            raise UserError(f"bench training takes no {override}: {advice}")
        if key in forced:
            value = next(text for text in reversed(_FORCED) if text.partition("=")[0] == key)
            raise UserError(
                f"bench training measures with {value}, which every library can do; "
                f"leave out {override}"
            )


def _measure(
    work: str,
    task: TrainingTask,
    settings: TrainConfig,
    batches: StoredBatches,
    rounds: int,
    found: Findings,
) -> None:
    """One group of workers that take turns; adds to what was found."""
    everybody = [*implementations(task, settings), peak_worker(task.precision, task.device)]
    # What was recorded stays on the device, so that not everybody finds room there.
    size = _COMPILE_TOGETHER if task.graphs else len(everybody)
    *measured, gemm = chain.from_iterable(
        measure(everybody[n : n + size], rounds, _COMPILE_TOGETHER if task.compile else 1)
        for n in range(0, len(everybody), size)
    )
    peak = peak_of(gemm, task.precision, task.device)
    rows = []
    for one in measured:
        if one.error is not None:
            found.failures.append(Failure(work, one.name, one.error))
        else:
            rows.append(row(work, one, task, batches.tokens, peak))
    found.rows.extend(_with_overhead(with_ratios(rows)))
    found.remarks.append(f"{work}: {peak_remark(task.precision, peak, task.device)}")


def _with_overhead(rows: list[Row]) -> list[Row]:
    """The fit's row says how it stands to its own bare loop."""
    bare = {r.name: r.value for r in rows}.get("minitf")
    return [
        replace(r, note=f"{r.value / bare:.2f} × its bare loop")
        if bare and r.name == "minitf fit"
        else r
        for r in rows
    ]


def implementations(task: TrainingTask, settings: TrainConfig) -> list[Implementation]:
    """Everybody who trains, minitf first."""
    place = "minitf.bench.alternatives"
    plain_task = asdict(task)
    bare = [
        Implementation(name, f"{place}.bare", "run", {"library": library, "task": plain_task})
        for name, library in BARE.items()
    ]
    precision = "bf16-mixed" if task.precision == "bfloat16" else "32-true"
    device = {"accelerator": task.device, "devices": 1, "precision": precision}
    config = replace(
        settings,
        trainer={**settings.trainer, **device},
        compile=task.compile,
        cuda_graphs=task.graphs,
    )
    arguments = {"config": plain(OmegaConf.structured(config)), "task": plain_task}
    fit = Implementation("minitf fit", f"{place}.own_fit", "run", arguments)
    trainer = Implementation(
        "transformers Marian Seq2SeqTrainer",
        f"{place}.seq2seq_trainer",
        "run",
        {"task": plain_task},
    )
    return [bare[0], fit, *bare[1:], trainer]


def row(
    work: str, one: Measured, task: TrainingTask, tokens: list[tuple[int, int]], peak: float | None
) -> Row:
    """The row of an implementation.

    Args:
        work: the row's work.
        one: its rounds, the warm-up left out.
        task: what it did.
        tokens: source and target tokens of each stored batch, the warm-up's first.
        peak: FLOP/s that the hardware could do.
    """
    speed, spread = median_and_spread([r["tokens"] / r["seconds"] for r in one.rounds])
    share = None
    if peak is not None:
        counted = tokens[task.steps : task.steps * (len(one.rounds) + 1)]
        src, tgt = (sum(side) for side in zip(*counted, strict=True))
        share = training_flops(task, src, tgt) / tgt * speed / peak
    return Row(
        work,
        one.name,
        speed,
        "tokens/s",
        spread=spread,
        peak_memory=one.peak_memory,
        peak_share=share,
    )


def best_rows(rows: Sequence[Row], size: str, device: str) -> list[Row]:
    """Each implementation at the precision and compile mode that suit it best.

    Args:
        rows: of any sizes; none is given back where this one was measured in one mode only.
        size: the one asked for.
        device: for the work's name.
    """
    of_size = [r for r in rows if r.work.split("/")[1] == size]
    if len({r.work for r in of_size}) < 2:
        return []
    best: dict[str, Row] = {}
    for r in of_size:
        if r.name not in best or r.value > best[r.name].value:
            best[r.name] = r
    work = f"training/{size}/best/{device}"
    return with_ratios(
        replace(r, work=work, ratio=None, note=f"in {r.work.split('/')[2]}") for r in best.values()
    )


def compose_settings(overrides: Sequence[str]) -> TrainConfig:
    """The configuration of `python train.py OVERRIDES`, good in any directory.

    Raises:
        UserError: an override that does not fit, or a value that is missing.
    """
    config = compose_config([*overrides, "run_dir=run"])
    require_complete(config)
    settings = cast(TrainConfig, to_dataclass(config))
    if hasattr(settings.data, "root"):
        settings.data.root = str(Path(settings.data.root).resolve())
    return settings


def store_batches(
    settings: TrainConfig, directory: Path, rounds: int, positions: int, whole_epochs: bool = False
) -> StoredBatches:
    """Write the batches that the fit of `settings` begins with, for as many rounds.

    Args:
        settings: data, tokenizer, batching and seed are read.
        directory: where to.
        rounds: how many.
        positions: source and target positions of a round, one batch at least.
        whole_epochs: at least an epoch a round, in which all shapes of batches come up.
    """
    splits = load_data(settings.data)
    tokenizer = new_tokenizer(settings, splits["train"])
    loader = TranslationData(
        settings.batching, splits, tokenizer, settings.seed, fixed_shapes=whole_epochs
    ).train_dataloader()
    steps = max(1, positions // (settings.batching.tokens or positions))
    if whole_epochs:
        steps = -(-steps // len(loader)) * len(loader)
    batches: list[Batch] = []
    while len(batches) < rounds * steps:  # epoch after epoch
        batches += list(loader)
    del batches[rounds * steps :]
    file = directory / "batches.pt"
    torch.save([{"src": b.src, "tgt": b.tgt, "tokens": b.num_target_tokens} for b in batches], file)
    tokens = [(b.num_source_tokens, b.num_target_tokens) for b in batches]
    return StoredBatches(file, steps, tokens, tokenizer)


def task_of(settings: TrainConfig, batches: StoredBatches, device: str) -> TrainingTask:
    """What everybody is given, in float32."""
    model = settings.model
    return TrainingTask(
        vocab_size=batches.tokenizer.vocab_size,
        pad_id=batches.tokenizer.pad_id,
        bos_id=batches.tokenizer.bos_id,
        eos_id=batches.tokenizer.eos_id,
        embed_dim=model.embed_dim,
        num_heads=model.num_heads,
        num_encoder_layers=model.num_encoder_layers,
        num_decoder_layers=model.num_decoder_layers,
        feedforward_dim=model.feedforward_dim,
        pre_norm=model.norm is Norm.pre,
        dropout=model.dropout,
        label_smoothing=settings.objective.label_smoothing,
        clip=1.0,
        batches=str(batches.file),
        steps=batches.steps,
        longest=settings.batching.max_length + 1,
        device=device,
    )


def _remark(size: str, task: TrainingTask, batches: StoredBatches, rounds: int) -> str:
    mean = sum(tgt for _, tgt in batches.tokens) / len(batches.tokens)
    return (
        f"training/{size}: {rounds} rounds of {task.steps} "
        f"{'update' if task.steps == 1 else 'updates'} after one of warm-up, "
        f"{mean:,.0f} target tokens a batch, vocabulary {task.vocab_size:,}, "
        f"{task.num_encoder_layers} + {task.num_decoder_layers} layers, {task.embed_dim} and "
        f"{task.feedforward_dim} wide, {task.num_heads} heads, dropout {task.dropout}, "
        f"{'pre' if task.pre_norm else 'post'}-norm where there is a choice"
    )
