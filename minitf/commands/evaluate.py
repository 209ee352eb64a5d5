"""`minitf evaluate RUN_DIR`: scores of a model, and whether two differ by more than chance."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minitf.commands.arguments import (
    Parser,
    add_decoding_arguments,
    add_model_arguments,
    decoding_arguments,
    load_model,
)
from minitf.commands.limits import refuse_to_overwrite
from minitf.commands.lines import one_line
from minitf.commands.notice import say
from minitf.config.errors import UserError
from minitf.config.memory import told_of_memory
from minitf.config.onednn import bound_onednn

if TYPE_CHECKING:
    from minitf.config.schema import EvaluationConfig
    from minitf.evaluation import Translator
    from minitf.evaluation.evaluate import Evaluation
    from minitf.evaluation.significance import Comparison

_EPILOG = """\
With two runs both translate the first one's test splits (or --src), both are measured as the first
one's configuration has it, and a paired bootstrap says whether the second differs from the first by
more than chance. --attention given twice is for each of them in turn.

examples:
  minitf evaluate outputs/latest
  minitf evaluate outputs/latest --split val --beam-size 5 --attention torch
  minitf evaluate outputs/latest --src test.en --ref test.de --tokenize none --lowercase
  minitf evaluate RUN_A RUN_B --json > comparison.json
  minitf evaluate RUN_A RUN_B --attention custom --attention my.Attention"""

Pairs = tuple[str, list[str], list[str]]
"""A name, sources, references."""


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    bound_onednn()
    parser = Parser("evaluate", "Measure a trained model, or compare two.", _EPILOG)
    parser.add_argument("run_dir", metavar="RUN_DIR", help="a run, or a safetensors export")
    parser.add_argument("other", metavar="RUN_DIR", nargs="?", help="compare it with this one")
    parser.add_argument("--split", metavar="NAME", action="append",
                        help="of the run's data (default: every test split)")  # fmt: skip
    parser.add_argument("--src", metavar="FILE", help="evaluate these source sentences instead")
    parser.add_argument("--ref", metavar="FILE", help="their references, line by line")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N sentences")
    parser.add_argument("--tokenize", metavar="NAME",
                        help="sacrebleu's tokenizer for BLEU (default: the run's)")  # fmt: skip
    parser.add_argument("--lowercase", action=argparse.BooleanOptionalAction,
                        help="compare lower-cased text (default: the run's)")  # fmt: skip
    parser.add_argument("--samples", type=int, metavar="N",
                        help="bootstrap resamples (default 1000)")  # fmt: skip
    parser.add_argument("--translations", metavar="FILE",
                        help="write the translations to it, of two runs the second's")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    add_decoding_arguments(parser)
    add_model_arguments(parser, attention_action="append")
    arguments = parser.parse_intermixed_args(argv)
    _check(arguments)

    named = arguments.attention or [None]
    first = load_model(arguments.run_dir, arguments, named[0])
    translators = [first]
    if arguments.other is not None:
        translators.append(load_model(arguments.other, arguments, named[-1]))
    sets = _pairs(translators, arguments)
    if arguments.translations and len(sets) > 1:
        names = ", ".join(name for name, _, _ in sets)
        raise UserError(f"--translations takes one split; choose with --split: {names}")
    if len(translators) > 1:
        _settle(first.config.evaluation, sets, arguments)
    results = [[_evaluate(t, pairs, arguments) for t in translators] for pairs in sets]
    unwritten = _write(results[0][-1].translations, arguments.translations)
    compared = [_compare(found, arguments) for found in results]
    if arguments.json:
        print(json.dumps(_as_json(results, compared), indent=2, ensure_ascii=False))
    else:
        _print(results, compared)
    if unwritten is not None:
        sys.stdout.flush()  # the scores are not lost with them
        raise unwritten
    return 0


def _check(arguments: argparse.Namespace) -> None:
    if (arguments.src is None) != (arguments.ref is None):
        raise UserError("evaluate: --src and --ref go together, as parallel files")
    if arguments.src is not None and arguments.split:
        raise UserError("evaluate: give --split, or --src with --ref, not both")
    runs = 1 if arguments.other is None else 2
    if len(arguments.attention or []) > runs:
        raise UserError(
            f"evaluate: --attention is given once, or once for each of two runs; received "
            f"{len(arguments.attention)} for {runs}"
        )
    if arguments.limit is not None and arguments.limit < runs:
        least = "1" if runs == 1 else "2 to compare two runs"
        raise UserError(f"evaluate: --limit must be at least {least}; received {arguments.limit}")
    if arguments.samples is not None and runs == 1:
        raise UserError("evaluate: --samples is of the bootstrap that compares two runs")
    if arguments.samples is not None and arguments.samples < 1:
        raise UserError(f"evaluate: --samples must be at least 1; received {arguments.samples}")
    for source in filter(None, (arguments.src, arguments.ref)):
        if Path(source).is_file():
            refuse_to_overwrite(source, arguments.translations, "evaluate: --translations")
    if arguments.translations is not None:
        path = Path(arguments.translations)
        if path.is_dir() or not path.absolute().parent.is_dir():
            kind = "it is a directory" if path.is_dir() else "no such directory"
            raise UserError(f"evaluate: --translations {arguments.translations}: {kind}")


def _settle(settings: "EvaluationConfig", sets: list[Pairs], arguments: argparse.Namespace) -> None:
    """Two runs are measured alike: as the first one's configuration has it, if no option says."""
    for name, sources, _ in sets:
        if len(sources) < 2:
            raise UserError(f"{name} has {len(sources)} sentence: comparing two runs takes 2")
    if arguments.tokenize is None:
        arguments.tokenize = settings.tokenize
    if arguments.lowercase is None:
        arguments.lowercase = settings.lowercase


def _pairs(translators: list["Translator"], arguments: argparse.Namespace) -> list[Pairs]:
    """The sets of sentence pairs that the options name.

    Where one run lower-cases its text and the other does not, each is given it in its own form, and
    lower-cased text is compared: `arguments.lowercase` is set.
    """
    limit, first = arguments.limit, translators[0]
    mixed = len({t.lowercases for t in translators}) > 1
    if mixed and arguments.lowercase is False:
        raise UserError(
            "evaluate: one of the runs lower-cases its text (data.lowercase), so only lower-cased "
            "text can be compared: leave --no-lowercase out"
        )
    arguments.lowercase = True if mixed else arguments.lowercase
    if arguments.src is not None:
        sources, references = _lines(arguments.src), _lines(arguments.ref)
        if len(sources) != len(references):
            raise UserError(
                f"parallel files have as many lines: {arguments.src} has {len(sources)}, "
                f"{arguments.ref} has {len(references)}"
            )
        form = str if mixed else first.as_trained
        return [
            (
                arguments.src,
                [form(s) for s in sources[:limit]],
                [form(r) for r in references[:limit]],
            )
        ]
    from minitf.data import data_files, load_data

    data = first.config.data
    if mixed and first.lowercases:
        data = dataclasses.replace(data, lowercase=False)
    try:
        splits = load_data(data)
    except UserError as error:
        raise UserError(f"the run's data: {error}; or give --src and --ref") from error
    for file in data_files(data) if arguments.translations else ():
        refuse_to_overwrite(str(file), arguments.translations, "evaluate: --translations")
    tests = [name for name in splits if name not in ("train", "val")]
    chosen = arguments.split or tests or ["val"]
    for name in chosen:
        if name not in splits:
            raise UserError(f"--split {name}: the run's data has {', '.join(splits)}")
    tested = first.config.evaluation.test_sentences
    if not arguments.quiet and limit is None and tested is not None and not arguments.split:
        say(f"the run itself was tested on at most {tested:,} sentences a split, as --limit does")
    return [
        (name, list(splits[name]["src"])[:limit], list(splits[name]["tgt"])[:limit])
        for name in chosen
    ]


def _lines(path: str) -> list[str]:
    from minitf.data.text import decode_lines, read_lines

    if not Path(path).is_fifo():
        return list(read_lines(path))
    with open(path, "rb") as pipe:
        return list(decode_lines(pipe, path))


def _evaluate(
    translator: "Translator", pairs: Pairs, arguments: argparse.Namespace
) -> "Evaluation":
    from minitf.evaluation.evaluate import evaluate

    name, sources, references = pairs
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        if sys.stderr.isatty() and not arguments.quiet:
            end = "\n" if done == len(sources) else "\r"
            print(f"\r{name}: {done:,} of {len(sources):,}", end=end, file=sys.stderr, flush=True)

    longest = max((len(s.split()) for s in (*sources, *references)), default=0)
    advice = f": a lower --batch-tokens takes less; the longest sentence has {longest:,} words"
    with told_of_memory(advice):
        return evaluate(
            translator,
            sources,
            references,
            name=name,
            tokenize=arguments.tokenize,
            lowercase=arguments.lowercase,
            progress=progress,
            **decoding_arguments(arguments),
        )


def _compare(found: list["Evaluation"], arguments: argparse.Namespace) -> list["Comparison"]:
    if len(found) < 2:
        return []
    from minitf.evaluation.significance import paired_bootstrap

    return paired_bootstrap(
        found[0].translations,
        found[1].translations,
        found[0].references,
        tokenize=arguments.tokenize,
        lowercase=arguments.lowercase,
        samples=1000 if arguments.samples is None else arguments.samples,
    )


def _write(translations: Sequence[str], file: str | None) -> UserError | None:
    """Write them where there is a file for them; None, or what stood against it."""
    if file is None:
        return None
    try:
        Path(file).write_bytes("".join(one_line(text) + "\n" for text in translations).encode())
    except OSError as error:
        return UserError(f"--translations {file} could not be written: {error.strerror}")
    return None


def _as_json(
    results: list[list["Evaluation"]], compared: list[list["Comparison"]]
) -> list[dict[str, Any]]:
    return [
        {
            "name": found[0].name,
            "results": [evaluation.to_json() for evaluation in found],
            "paired_bootstrap": [vars(comparison) for comparison in comparisons],
        }
        for found, comparisons in zip(results, compared, strict=True)
    ]


def _print(results: list[list["Evaluation"]], compared: list[list["Comparison"]]) -> None:
    from rich.console import Console

    from minitf.commands.tables import comparison_table, length_table, score_table

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.width = max(console.width, 80)  # a narrower table would lose digits
    for found, comparisons in zip(results, compared, strict=True):
        for evaluation in found:
            console.print(score_table(evaluation))
            for score in evaluation.scores.values():
                console.print(f"{score.name} [{score.signature}]")
            console.print(f"weights {evaluation.model}\n")
            console.print(length_table(evaluation))
            console.print()
        if comparisons:
            console.print(comparison_table(comparisons))
            for comparison in comparisons:
                console.print(f"{comparison.metric} [{comparison.signature}]")
            console.print()
