"""One export: written aside, checked in its engine, then put in place."""

import importlib
import os
import shutil
import tempfile
from pathlib import Path

from minitf.config.errors import UserError
from minitf.evaluation import Translator
from minitf.export.model_card import model_card
from minitf.export.parts import Check

FORMATS = ("safetensors", "transformers", "ctranslate2", "onnx")
"""What `--to` takes; `NAME` is written and checked by `minitf.export.to_NAME`."""


def export(
    translator: Translator, format: str, directory: Path, run_dir: Path | None = None
) -> Check:
    """Write a model for an engine, with a model card, and check it there.

    Args:
        translator: What `minitf.load` gave.
        format: One of FORMATS.
        directory: Where to; must not be there yet, or be empty. It appears whole or not at all.
        run_dir: The run, whose results.json the model card quotes.

    Returns:
        How the export compares with the model.

    Raises:
        UserError: The directory is taken, the format unknown, its engine not installed, an option
            of the model has no counterpart there, or the export computes something else.
    """
    if format not in FORMATS:
        raise UserError(f"--to takes {', '.join(FORMATS)}; received {format!r}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"--output {directory} is there already: choose a new directory")
    writer = importlib.import_module(f"minitf.export.to_{format}")
    place = Path(os.path.realpath(directory))  # where a link, or `.`, leads
    there = next(path for path in (place, *place.parents) if path.exists())
    try:
        aside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=there))
    except OSError as error:
        raise UserError(f"--output {directory} cannot be written: {error.strerror}") from error
    try:
        writer.write(translator, aside)
        check: Check = writer.check(translator, aside)
        if not check.passed:
            raise UserError(
                f"--to {format}: what was written does not compute what the model does "
                f"({check.finding}), so it is not kept"
            )
        card = model_card(translator, format, place.name, run_dir)
        (aside / "README.md").write_text(card, encoding="utf-8")
        aside.chmod(0o755)  # mkdtemp and safetensors write for their owner alone
        for file in aside.iterdir():
            file.chmod(0o644)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            _move(aside, place)
        else:
            aside.rename(place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return check


def _move(aside: Path, place: Path) -> None:
    """All files or none; the empty directory stays, for it may be a mount or where somebody is."""
    files = [place / file.name for file in aside.iterdir()]
    try:
        for file in files:
            (aside / file.name).rename(file)
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
