"""Options that several commands share: which model, on what, and how it decodes."""

import argparse
import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from minitf.config.errors import UserError
from minitf.config.schema import DecodingConfig, DecodingMethod, EarlyStopping

if TYPE_CHECKING:
    from minitf.evaluation import Translator

DECODING = tuple(field.name for field in fields(DecodingConfig))


class Parser(argparse.ArgumentParser):
    """argparse, but a wrong argument is a UserError: one line, like every other error."""

    def __init__(self, command: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"minitf {command}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> Any:
        """Raise what argparse would print."""
        raise UserError(f"{self.prog.split()[-1]}: {message}; see {self.prog} --help")


def add_model_arguments(parser: argparse.ArgumentParser, attention_action: str = "store") -> None:
    """--checkpoint, --attention, --kernel and --device."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--checkpoint",
        metavar="WHICH",
        help="best, last, average, average:last:N, average:best:N, or a file "
        "(default: what training tested with: the average if it made one, else the best)",
    )
    group.add_argument(
        "--attention",
        metavar="NAME",
        action=attention_action,
        help="run with this attention: custom, torch, or package.module.Class "
        "(default: the one it was trained with)",
    )
    group.add_argument(
        "--kernel", metavar="NAME", help="of the custom attention: auto, math, fused, fast or flex"
    )
    group.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1, … (default %(default)s)"
    )


def load_model(directory: str, arguments: argparse.Namespace, name: str | None) -> "Translator":
    """The model that `directory` and the options of `add_model_arguments` name.

    Args:
        directory: A run, or an export.
        arguments: What was parsed.
        name: The attention, if another than the run's.
    """
    from minitf.evaluation import load

    if name is not None and "." in name and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # the user's own class, as `python -m` would find it
    attention: str | Mapping[str, str] | None = name
    if arguments.kernel is not None:
        attention = {"kernel": arguments.kernel}
        if name is not None:
            attention["_target_"] = name
    return load(
        directory,
        attention=attention,
        device=arguments.device,
        checkpoint=arguments.checkpoint,
    )


def add_decoding_arguments(parser: argparse.ArgumentParser) -> None:
    """One option for each field of DecodingConfig; what is not given is as in the run."""
    group = parser.add_argument_group("decoding (default: as the run's evaluation.decoding)")

    def add(name: str, kind: Any, text: str, **further: Any) -> None:
        group.add_argument(f"--{name.replace('_', '-')}", type=kind, help=text, **further)

    add("method", str, "", choices=[m.value for m in DecodingMethod])
    add("beam_size", int, "hypotheses searched together; means --method beam", metavar="N")
    add("n_best", int, "hypotheses written per sentence", metavar="N")
    add("length_penalty", float, "score = log-probability / length ** A", metavar="A")
    add("early_stopping", str, "when a beam search ends", choices=[m.value for m in EarlyStopping])
    add("max_length_ratio", float, "at most R target tokens per source token, …", metavar="R")
    add("max_length_extra", int, "… plus N", metavar="N")
    add("min_length_ratio", float, "at least R target tokens per source token", metavar="R")
    add("min_length", int, "at least N target tokens", metavar="N")
    add("temperature", float, "logits are divided by T; means --method sample", metavar="T")
    add("top_k", int, "sample among the K likeliest; 0: all", metavar="K")
    add("top_p", float, "sample among the likeliest of mass P", metavar="P")
    add("seed", int, "of the sampling", metavar="N")
    add("no_repeat_ngram", int, "no n-gram of this size twice; 0: allowed", metavar="N")
    add("batch_tokens", int, "source tokens decoded together, beams counted", metavar="N")


def decoding_arguments(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options of `add_decoding_arguments` that were given."""
    return {
        name: getattr(arguments, name) for name in DECODING if getattr(arguments, name) is not None
    }
