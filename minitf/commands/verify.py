"""`minitf verify`: are two attention implementations the same, and where are they not?"""

import datetime
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from minitf.commands.arguments import Parser
from minitf.config.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from minitf.equivalence.settings import VerifySettings

_EPILOG = """\
keys (KEY=VALUE, as in `python train.py`):
  reference=torch          torch, custom, or reference._target_=package.Class; with options:
  candidate=custom         candidate.kernel=fast, candidate._target_=my.Attention candidate.x=1
  level=all                op, model, training, decoding, properties; several with commas
  quick | thorough         every pair or triple of case values; 40 or 200 lockstep steps; ...
  dtype=auto               float32, bfloat16, float16, float64; auto: those usual for each level
  device=auto              cpu, cuda
  seed=0  steps=40  batch_size=8  threads=1
  model=nano               a file of configs/model; model.embed_dim=64 changes a key
  data=scenes              what models train on: scenes, or letters to be reversed
  run=RUN_DIR              compare a trained model: its sizes, weights, tokenizer and data
  out=DIR                  of the report (default outputs/verify/TIME)
  logger=wandb             wandb (offline without a key) or none

exit codes: 0 equivalent, 1 not, 2 could not run or be judged

examples:
  minitf verify
  minitf verify candidate.kernel=fast thorough
  minitf verify candidate._target_=my.Attention level=op,properties
  minitf verify reference=custom candidate=custom candidate.kernel=fast model.positions=rotary
  minitf verify --self-test"""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    parser = Parser("verify", "Certify that two attention implementations do the same.", _EPILOG)
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--self-test", action="store_true",
                        help="plant known bugs and see that each is caught")  # fmt: skip
    arguments = parser.parse_args(argv)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # the user's own class, as `python -m` would find it

    # On a busy machine, threads that wait by spinning slow many small operations tenfold. It has to
    # be said before torch is loaded, and changes no bit.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from minitf.equivalence.settings import parse

    settings = parse(arguments.overrides)
    if arguments.self_test:
        if settings.candidate.get("name") != "custom":
            raise UserError(
                "verify: --self-test plants its bugs into the custom attention: leave candidate out"
            )
        return _self_test(settings)
    return _verify(settings, list(arguments.overrides))


def _verify(settings: "VerifySettings", overrides: list[str]) -> int:
    from minitf.equivalence.certify import command_line, verify
    from minitf.equivalence.console import print_level, print_verdict
    from minitf.equivalence.output import log_to_wandb, write_report

    console = _console()
    import torch

    for key, value in (("seed", settings.seed), ("threads", torch.get_num_threads())):
        if not any(given.startswith(f"{key}=") for given in overrides):
            overrides.append(f"{key}={value}")
    directory = Path(settings.out or _new_directory())
    directory.mkdir(parents=True, exist_ok=True)  # what cannot be made is told before the work
    command = command_line(overrides)
    console.print(command, style="dim", highlight=False, markup=False)
    report = verify(settings, command, lambda level: print_level(console, level))
    print_verdict(console, report)
    figures = write_report(report, directory)
    console.print(f"report     {directory / 'report.html'}", highlight=False, markup=False)
    if settings.logger == "wandb":
        offline = log_to_wandb(report, figures, directory)
        hint = f"wandb sync {os.path.relpath(offline)}" if offline else "uploaded"
        console.print(f"wandb      {hint}", highlight=False, markup=False)
    return report.exit_code


def _console() -> "Console":
    from rich.console import Console

    # A pipe or a log has no width of its own; the tables need this much.
    return Console(soft_wrap=True, width=None if sys.stdout.isatty() else 150)


def _new_directory() -> str:
    stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    return os.path.join("outputs", "verify", stamp)


def _self_test(settings: "VerifySettings") -> int:
    from minitf.equivalence.self_test import conclude, print_result, run_self_test

    console = _console()
    results = run_self_test(settings, lambda result: print_result(console, result))
    if settings.out:
        path = Path(settings.out) / "self_test.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(r) for r in results], indent=1), encoding="utf-8")
    return conclude(console, results)
