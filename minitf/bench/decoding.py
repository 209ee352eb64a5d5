"""Decoding: sentences per second of greedy and beam search, of everybody, with equal weights."""

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from minitf.bench.hardware import peak_of, peak_remark, peak_worker, weights_met
from minitf.bench.rounds import Implementation, Measured, measure, worker_environment
from minitf.bench.rows import Failure, Findings, Row, median_and_spread, with_ratios
from minitf.bench.startup import PROGRAM
from minitf.bench.training import compose_settings
from minitf.config import UserError
from minitf.config.schema import DecodingConfig, DecodingMethod
from minitf.data import load_data
from minitf.decoding.limits import longest_output
from minitf.evaluation import Translator, load
from minitf.export.command import overrides as overrides_of
from minitf.export.export import export
from minitf.export.to_ctranslate2 import vocabulary

METHODS = {
    "greedy": DecodingConfig(method=DecodingMethod.greedy),
    "beam5": DecodingConfig(method=DecodingMethod.beam, beam_size=5),
}

BEST = {"cpu": "int8", "cuda": "float16"}
"""CTranslate2's fastest type; it alone has one that is quicker at these sizes."""

_UPDATES = 400
"""Of the model that is trained where none is given: what it writes ends by itself."""


def run(quick: bool, overrides: Sequence[str] = (), run_dir: Path | None = None) -> Findings:
    """Measure this machine.

    Args:
        quick: 200 sentences and three rounds instead of 1,000 and seven.
        overrides: as for `python train.py`, for the model that is trained where none is given.
        run_dir: a trained run; its first test split is translated.

    Raises:
        UserError: the directory holds no run, or its data are gone.
    """
    with tempfile.TemporaryDirectory(prefix="minitf-bench-") as directory:
        place = Path(directory)
        chosen = train_briefly(place, overrides) if run_dir is None else run_dir.resolve()
        translator = load(chosen)
        found = Findings([], [], [])
        exports = _export(translator, place, found)
        sources = sources_of(translator, 200 if quick else 1_000)
        for name, config in METHODS.items():
            file = place / f"{name}.json"
            task = decoding_task(translator, sources, config)
            file.write_text(json.dumps(task))
            flops = Flops.of(translator, task)
            _measure(name, file, chosen, exports, flops, 3 if quick else 7, found)
        trained = "of the run given" if run_dir else f"trained here for {_UPDATES} updates"
        found.remarks.append(
            f"decoding: {len(sources):,} sentences, the model {trained}; equal outputs: the share "
            "of sentences of which minitf wrote the same tokens; each sorts the sentences by "
            "length and batches them as suits it; tokens/s counts what was written, EOS left out; "
            "share of the peak: 2 FLOPs per weight of a matrix and token, EOS counted, that the "
            "encoder reads or a hypothesis of the beam writes"
        )
    return found


def train_briefly(directory: Path, overrides: Sequence[str]) -> Path:
    """A run of some hundred updates, by the command that a user types.

    Raises:
        UserError: the training failed, with its last line.
    """
    chosen = any(override.startswith(("model=", "experiment=")) for override in overrides)
    settings = compose_settings([
        *([] if chosen else ["model=nano"]),
        "model.positions=sinusoidal",  # which all engines have
        *overrides, "schedule=cosine", "schedule.warmup_steps=100", f"trainer.max_steps={_UPDATES}",
        "trainer.accumulate_grad_batches=1", "trainer.check_val_every_n_epoch=null",
        f"trainer.val_check_interval={_UPDATES}", "evaluation.val_bleu_sentences=0",
        "evaluation.test_sentences=2", "evaluation.average_last=0",
        "evaluation.decoding.method=greedy",
    ])  # fmt: skip
    (directory / "train.py").write_text(PROGRAM)
    command = [sys.executable, "train.py", *overrides_of(settings), "logger=csv", "run_dir=run"]
    done = subprocess.run(
        command, cwd=directory, env=worker_environment(), capture_output=True, text=True
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UserError(f"bench decoding: training a model failed: {lines[-1] if lines else ''}")
    return directory / "run"


def sources_of(translator: Translator, limit: int) -> list[list[int]]:
    """The first sentences of the run's first test split, as token numbers without EOS."""
    splits = load_data(translator.config.data)
    name = next((name for name in splits if name not in ("train", "val")), "val")
    texts = splits[name][:limit]["src"]
    return [ids for ids in translator.tokenizer.encode_batch(texts) if ids]


def decoding_task(
    translator: Translator, sources: list[list[int]], config: DecodingConfig
) -> dict[str, Any]:
    """What everybody is given, as plain values.

    Returns:
        `sources` without EOS; `longest`, the most tokens of each one's output; `beams`; the special
        tokens' ids; and each token's name (for CTranslate2).
    """
    tokenizer = translator.tokenizer
    return {
        "sources": sources,
        "longest": [longest_output(len(source), config) for source in sources],
        "beams": config.beam_size if config.method is DecodingMethod.beam else 1,
        "bos_id": tokenizer.bos_id,
        "eos_id": tokenizer.eos_id,
        "pad_id": tokenizer.pad_id,
        "vocabulary": vocabulary(translator),
    }


def _export(translator: Translator, directory: Path, found: Findings) -> dict[str, Path]:
    """The same weights for the other engines; one that cannot have them is a failure's line."""
    exports = {}
    for engine in ("transformers", "ctranslate2"):
        if importlib.util.find_spec(engine) is None:
            reason = f"the package {engine} is not installed: pip install 'minitf[bench]'"
            found.failures.append(Failure("decoding", engine, reason))
            continue
        try:
            export(translator, engine, directory / engine)
            exports[engine] = directory / engine
        except UserError as error:
            found.failures.append(Failure("decoding", engine, str(error)))
    return exports


def _measure(
    method: str,
    file: Path,
    run_dir: Path,
    exports: dict[str, Path],
    flops: "Flops",
    rounds: int,
    found: Findings,
) -> None:
    """One method: everybody takes turns; adds to what was found."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    everybody = [*implementations(file, run_dir, exports, device), peak_worker("float32", device)]
    *those, gemm = measure(everybody, rounds)
    peak = peak_of(gemm, "float32", device)
    measured = {one.name: one for one in those}
    work, best = (f"decoding/{method}/{kind}/{device}" for kind in ("float32", "best"))
    for one in measured.values():
        if one.error is not None:
            found.failures.append(Failure(work, one.name, one.error))
        elif settings := one.warm_up["settings"]:
            found.remarks.append(f"{work}: {one.name}: {settings}, the fastest of those tried")
    done = [one for one in measured.values() if one.error is None]
    reduced = f"CTranslate2 {BEST[device]}"
    same = [one for one in done if one.name != reduced]
    found.rows.extend(with_ratios(rows(work, same, measured["minitf"], flops, peak)))
    found.remarks.append(f"{work}: {peak_remark('float32', peak, device)}")
    if len(same) < len(done):
        at_best = [one for one in done if one.name != "CTranslate2"]
        found.rows.extend(with_ratios(rows(best, at_best, measured["minitf"])))


def implementations(
    file: Path, run_dir: Path, exports: dict[str, Path], device: str
) -> list[Implementation]:
    """Everybody who decodes, minitf first."""
    place = "minitf.bench.alternatives"
    common: dict[str, Any] = {"task": str(file), "device": device}
    found = [
        Implementation("minitf", f"{place}.decode_own", "run", {**common, "model": str(run_dir)})
    ]
    if directory := exports.get("transformers"):
        arguments = {**common, "model": str(directory)}
        found.append(
            Implementation(
                "transformers generate", f"{place}.decode_hugging_face", "run", arguments
            )
        )
    if directory := exports.get("ctranslate2"):
        cores = torch.get_num_threads()  # what the others' torch takes
        for kind in ("float32", BEST[device]):
            name = "CTranslate2" if kind == "float32" else f"CTranslate2 {kind}"
            options = {**common, "model": str(directory), "compute_type": kind, "cores": cores}
            found.append(Implementation(name, f"{place}.decode_ctranslate2", "run", options))
    return found


@dataclass(frozen=True)
class Flops:
    """Arithmetic of a translation."""

    sources: float
    """Of reading all sources."""
    target: float
    """Of writing a token, with all of a beam's hypotheses."""

    @classmethod
    def of(cls, translator: Translator, task: dict[str, Any]) -> "Flops":
        """Of a task by `decoding_task`."""
        source, target = weights_met(translator.model)
        read = sum(len(ids) + 1 for ids in task["sources"])
        return cls(2.0 * source * read, 2.0 * target * task["beams"])

    def a_second(self, figures: Mapping[str, float]) -> float:
        """Of what was done in a round, EOS counted."""
        written = figures["tokens"] + figures["sentences"]
        return (self.sources + self.target * written) / figures["seconds"]


def rows(
    work: str,
    measured: Sequence[Measured],
    own: Measured,
    flops: Flops | None = None,
    peak: float | None = None,
) -> list[Row]:
    """Sentences/s of all, then tokens/s of all.

    Args:
        work: the rows' work.
        measured: whose.
        own: minitf's, whose outputs the others' are compared with.
        flops: arithmetic of the work; None where precisions differ.
        peak: FLOP/s that the hardware could do; None: unknown.
    """
    found = []
    for unit, key in (("sentences/s", "sentences"), ("tokens/s", "tokens")):
        for one in measured:
            median, spread = median_and_spread([r[key] / r["seconds"] for r in one.rounds])
            note = ""
            if unit == "sentences/s" and one is not own and own.error is None:
                share = equal_share(own.warm_up["outputs"], one.warm_up["outputs"])
                note = f"{share:.1%} equal outputs"
            used = None
            if flops is not None and peak is not None:
                used = median_and_spread([flops.a_second(r) for r in one.rounds])[0] / peak
            found.append(
                Row(
                    work,
                    one.name,
                    median,
                    unit,
                    spread=spread,
                    peak_memory=one.peak_memory,
                    peak_share=used,
                    note=note,
                )
            )
    return found


def equal_share(first: list[list[int]], second: list[list[int]]) -> float:
    """Share of sentences of which both wrote the same tokens.

    >>> equal_share([[1, 2], [3]], [[1, 2], [4]])
    0.5
    """
    return sum(a == b for a, b in zip(first, second, strict=True)) / len(first)
