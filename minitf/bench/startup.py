"""Start-up: seconds from the command to the end of the first update, on data seen before."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from minitf.bench.rounds import worker_environment
from minitf.bench.rows import Failure, Findings, Row, median_and_spread
from minitf.bench.training import compose_settings
from minitf.export.command import overrides as overrides_of

PROGRAM = "from minitf.training.command import main\n\nif __name__ == '__main__':\n    main()\n"
"""train.py: an installed package has none beside it."""


class FirstUpdate(Callback):
    """Writes the time of the first update's end to a file, and ends the run.

    Args:
        file: where to.
    """

    def __init__(self, file: str) -> None:
        self._file = Path(file)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *arguments: object
    ) -> None:
        """After the first update, whatever number of micro-batches it took."""
        if trainer.global_step >= 1:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize()
            self._file.write_text(repr(time.time()))
            raise KeyboardInterrupt


def run(quick: bool, overrides: Sequence[str] = ()) -> Findings:
    """Start `python train.py` again and again, as a user would.

    Args:
        quick: three starts that count instead of seven.
        overrides: as for `python train.py`.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    settings = compose_settings(overrides)
    work = f"startup/{settings.data.name}/{device}"
    remark = (
        "from the start of `python train.py`, its default logger included, to the end of the first "
        "update; the first start, which fills caches, is left out"
    )
    seconds: list[float] = []
    with tempfile.TemporaryDirectory(prefix="minitf-bench-") as directory:
        place = Path(directory)
        (place / "train.py").write_text(PROGRAM)
        loggers = [o for o in overrides if o.startswith("logger")]  # not a part of the recipe
        command = [sys.executable, "train.py", *overrides_of(settings), *loggers]
        for number in range(4 if quick else 8):
            found = start(command, place, number)
            if isinstance(found, str):
                return Findings([], [Failure(work, "minitf", found)], [remark])
            seconds.append(found)
    median, spread = median_and_spread(seconds[1:])
    first = f"the first start: {seconds[0]:.1f} s"
    return Findings([Row(work, "minitf", median, "s", spread=spread, note=first)], [], [remark])


def start(command: Sequence[str], directory: Path, number: int) -> float | str:
    """Seconds to the first update; or why there was none, in one line.

    Args:
        command: what a user types.
        directory: where they type it.
        number: of the start; each has a run directory of its own.
    """
    file = directory / f"first-{number}"
    began = time.time()
    done = subprocess.run(
        [
            *command,
            f"run_dir=run-{number}",
            f"+callbacks.bench={{_target_:{__name__}.FirstUpdate,file:{file}}}",
        ],
        cwd=directory,
        env=worker_environment(),
        capture_output=True,
        text=True,
    )
    if not file.is_file():
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else f"it ended with exit code {done.returncode}"
    return float(file.read_text()) - began
