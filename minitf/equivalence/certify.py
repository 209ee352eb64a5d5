"""Run the levels and draw the verdict."""

import dataclasses
import datetime
import functools
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minitf.config.errors import UserError
from minitf.config.schema import ModelConfig
from minitf.equivalence import summaries
from minitf.equivalence.cases import Case, covering_array
from minitf.equivalence.comparable import not_judged, overall, why_not_comparable
from minitf.equivalence.decoding_level import run_decoding_level, train_weights
from minitf.equivalence.implementations import TORCH_OPTIONS, Implementation, resolve
from minitf.equivalence.model_level import run_model_level
from minitf.equivalence.models import Weights
from minitf.equivalence.op_level import run_op_level
from minitf.equivalence.process_state import process_state_kept
from minitf.equivalence.properties import PROPERTIES_RULE, run_properties_level
from minitf.equivalence.report import LevelReport, Report
from minitf.equivalence.settings import VerifySettings
from minitf.equivalence.task import Task, letters_task, scenes_task, text_task
from minitf.equivalence.training_level import ENVELOPE_RULE, run_training_level
from minitf.equivalence.verdict import RULE, Verdict
from minitf.evaluation.build import other_attention
from minitf.training.environment import environment

Progress = Callable[[LevelReport], None]


class Verification:
    """One comparison of a candidate with a reference: sides, model, data, settings."""

    def __init__(
        self,
        settings: VerifySettings,
        reference: Implementation | None = None,
        candidate: Implementation | None = None,
    ) -> None:
        self.settings = settings
        self.reference = reference or resolve("reference", settings.reference)
        self.candidate = candidate or resolve("candidate", settings.candidate)
        self.device = settings.torch_device
        self.model: ModelConfig = settings.model
        self.weights: Weights | None = None
        self._run: Any = None
        if settings.run is not None:
            from minitf.evaluation.stored import read_stored

            self._run = read_stored(Path(settings.run))
            self.model, self.weights = self._run.config.model, self._run.weights
        self.in_model = (self._as_trained(self.reference), self._as_trained(self.candidate))

    @functools.cached_property
    def task(self) -> Task:
        """The data of the model, training and decoding levels."""
        if self._run is not None:
            from minitf.data import load_data

            data = load_data(self._run.config.data)
            return text_task(self._run.config.data.name, data, self._run.tokenizer)
        if self.settings.data == "letters":
            return letters_task(self.settings.seed)
        return scenes_task(self.settings.seed)

    def _as_trained(self, side: Implementation) -> Implementation:
        """The side with the run's own attention options, on which its weights may depend."""
        if self._run is None:
            return side
        options, _ = other_attention(self._run.config.attention, side.build)
        del options["_target_"]
        return dataclasses.replace(side, options={**options, **side.options})

    def cases(self) -> list[Case]:
        """The case matrix of the setting, without options that a constructor does not take."""
        effort, seed = self.settings.effort, self.settings.seed
        return [
            case
            for number in range(effort.case_seeds)
            for case in covering_array(effort.strength, seed + number, self._options_not_taken())
        ]

    def run(self, level: str) -> Iterator[LevelReport]:
        """The reports of one level, one for each of its data types."""
        if reason := self._why_not_comparable(level):
            yield not_judged(level, reason)
        else:
            yield from getattr(self, f"_{level}")()

    def _why_not_comparable(self, level: str) -> str:
        if level == "op":
            return why_not_comparable(level, self.reference, self.candidate, 16, 2)
        sizes = (self.model.embed_dim, self.model.num_heads)
        return why_not_comparable(level, *self.in_model, *sizes)

    def run_all(self) -> Iterator[LevelReport]:
        """The reports of all levels asked for.

        Raises:
            UserError: the first one cannot be run; a later one's report says why it cannot.
        """
        finished = False
        for level in self.settings.levels:
            try:
                for report in self.run(level):
                    yield report
                    finished = True
            except UserError as error:
                if not finished:
                    raise
                yield not_judged(level, str(error))

    def _op(self) -> Iterator[LevelReport]:
        cases = self.cases()
        for dtype in self.settings.dtypes("float32", "bfloat16", "float16", "float64"):
            results = run_op_level(
                self.reference,
                self.candidate,
                [(case, dtype) for case in cases],
                self.device,
                self.settings.seed,
            )
            report = summaries.summarize_op(results, dtype)
            if missing := self._options_not_taken():
                names = ", ".join(missing)
                report.notes.append(f"left out, for a constructor does not take it: {names}")
            yield report

    def _options_not_taken(self) -> list[str]:
        sides = (self.reference, self.candidate)
        return [o for o in TORCH_OPTIONS if not all(side.takes(o) for side in sides)]

    def _model(self) -> Iterator[LevelReport]:
        for dtype in self.settings.dtypes("float32", "bfloat16", "float64"):
            result = run_model_level(
                *self.in_model,
                self.model,
                self.task,
                dtype,
                self.device,
                self.settings.seed,
                batch_size=self.settings.effort.batch_size,
                weights=self.weights,
            )
            yield summaries.summarize_model(result, dtype)

    def _training(self) -> Iterator[LevelReport]:
        """With dropout, the model's own or a tenth: the draws belong to what must be the same."""
        effort = self.settings.effort
        model = dataclasses.replace(self.model, dropout=self.model.dropout or 0.1)
        for dtype in self.settings.dtypes("float32", "bfloat16"):
            result = run_training_level(
                *self.in_model,
                model,
                self.task,
                dtype,
                self.device,
                self.settings.seed,
                steps=effort.steps,
                batch_size=effort.batch_size,
                weights=self.weights,
            )
            yield summaries.summarize_training(result)

    def _decoding(self) -> Iterator[LevelReport]:
        effort = self.settings.effort
        weights = self.weights or train_weights(
            self.in_model[0],
            self.model,
            self.task,
            self.device,
            self.settings.seed,
            steps=effort.decoding_steps,
            batch_size=effort.batch_size,
        )
        for dtype in self.settings.dtypes("float32"):
            results = run_decoding_level(
                *self.in_model,
                self.model,
                self.task,
                weights,
                dtype,
                self.device,
                self.settings.seed,
                sentences=effort.sentences,
            )
            yield summaries.summarize_decoding(results, dtype)

    def _properties(self) -> Iterator[LevelReport]:
        yield summaries.summarize_properties(
            *(
                run_properties_level(side, self.device, self.settings.seed)
                for side in (self.candidate, self.reference)
            )
        )


def verify(
    settings: VerifySettings, command: str = "minitf verify", progress: Progress | None = None
) -> Report:
    """Compare two attention implementations at the levels asked for.

    Args:
        settings: what to compare, and how much.
        command: the line that reproduces the report.
        progress: called with each level's report as soon as it stands.

    Raises:
        UserError: the comparison cannot be run.
    """
    start = time.monotonic()
    verification = Verification(settings)
    reports: list[LevelReport] = []
    with process_state_kept(settings.threads, verification.device):
        began = start
        for report in verification.run_all():
            report.seconds = time.monotonic() - began
            reports.append(report)
            if progress:
                progress(report)
            began = time.monotonic()
        return _conclude(verification, reports, command, time.monotonic() - start)


def _conclude(
    verification: Verification, reports: list[LevelReport], command: str, seconds: float
) -> Report:
    if not reports:
        raise UserError("no level was run: name one with level=op")
    settings = verification.settings
    verdict = overall(reports)
    judged, exit_code = "equivalent", 0
    if not verdict.equivalent:
        judged, exit_code = (
            ("not equivalent", 1) if verdict is Verdict.different else ("not judged", 2)
        )
    sides = f"{verification.candidate.label} against {verification.reference.label}"
    parts = _equivalent_parts(reports)
    statement = f"{judged}: {sides}"
    if not verdict.equivalent:
        where = next(r for r in reports if r.verdict is verdict)
        statement += f"; {where.title}: {where.findings[0]}"
    if parts and verdict is not Verdict.different:
        statement += f" ({parts})"
    if verdict.equivalent and not parts:  # the formula alone was asked about
        statement = (
            f"equivalent as far as properties tell: {sides}; outputs were not compared, "
            "level=op, model or training does"
        )
    return Report(
        verdict=judged,
        statement=statement,
        exit_code=exit_code,
        command=command,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        seconds=seconds,
        reference=_described(verification.reference),
        candidate=_described(verification.candidate),
        settings=asdict(settings) | {"effort": asdict(settings.effort)},
        environment=environment(verification.device),
        rules=_rules({report.level for report in reports}),
        levels=reports,
        known_differences=_known_differences(reports),
    )


def _rules(levels: set[str]) -> dict[str, str]:
    rules = {"properties": PROPERTIES_RULE} if "properties" in levels else {}
    if levels - {"properties"}:
        rules["tensors"] = RULE
    if "training" in levels:
        rules["training"] = ENVELOPE_RULE
    return rules


def _equivalent_parts(reports: list[LevelReport]) -> str:
    """Which levels compared and found no difference."""
    compared = [r for r in reports if r.level != "properties"]
    parts = []
    for verdict in (Verdict.bit_identical, Verdict.within_rounding):
        if titles := [r.title for r in compared if r.verdict is verdict]:
            parts.append(f"{verdict.value}: {'; '.join(titles)}")
    return ". ".join(parts)


def _known_differences(reports: list[LevelReport]) -> list[str]:
    """The documented differences that were met, each with the levels where it was."""
    met: dict[str, list[str]] = {}
    for report in reports:
        for note in report.notes:
            if note.startswith(summaries.KNOWN_DIFFERENCE):
                met.setdefault(note.partition(" (")[0], []).append(report.title)
    return [f"{note} ({'; '.join(titles)})" for note, titles in met.items()]


def _described(side: Implementation) -> dict[str, Any]:
    build = side.build
    return {
        "label": side.label,
        "class": f"{build.__module__}.{getattr(build, '__qualname__', build)}",
        "options": {key: str(value) for key, value in side.options.items()},
    }


def command_line(arguments: list[str]) -> str:
    """The line that reproduces a run."""
    return shlex.join(["minitf", "verify", *arguments])
