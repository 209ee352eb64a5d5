"""`minitf translate RUN_DIR`: text in, text out."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from minitf.commands.arguments import (
    Parser,
    add_decoding_arguments,
    add_model_arguments,
    decoding_arguments,
    load_model,
)
from minitf.commands.interrupt import at_the_end
from minitf.commands.limits import refuse_to_overwrite, same_place
from minitf.commands.lines import decode_line, one_line, read_chunks
from minitf.commands.notice import say
from minitf.config.errors import UserError
from minitf.config.memory import told_of_memory
from minitf.config.onednn import bound_onednn

if TYPE_CHECKING:
    from minitf.evaluation import Translator
    from minitf.evaluation.translate import Translation

_EPILOG = """\
Line n of the output translates line n of the input; where that is empty or blank, it is empty.
With --n-best above 1 a line is printed for each hypothesis: line number, score, text, with tabs
between. With a terminal and no input, sentences are read from a prompt.

examples:
  minitf translate outputs/latest --text "A dog sleeps."
  minitf translate outputs/latest --input test.en --output test.de --beam-size 5
  minitf translate outputs/latest --text "A dog sleeps." --attention-map map.png
  minitf translate outputs/latest --json --n-best 3 < test.en"""

_ADVICE = "convert it to UTF-8, or read on with --replace-invalid"


def main(argv: Sequence[str]) -> int:
    """Run the command."""
    bound_onednn()
    parser = Parser("translate", "Translate text with a trained model.", _EPILOG)
    parser.add_argument("run_dir", metavar="RUN_DIR", help="a run, or a safetensors export")
    parser.add_argument("--text", action="append", help="translate this (may be repeated)")
    parser.add_argument("--input", metavar="FILE", help="read lines from it (default: stdin)")
    parser.add_argument("--output", metavar="FILE", help="write lines to it (default: stdout)")
    parser.add_argument("--json", action="store_true", help="a JSON object for each line")
    parser.add_argument("--attention-map", metavar="PNG", help="draw the first line's attention")
    parser.add_argument("--prefix", default="", help="what every translation must begin with")
    parser.add_argument("--buffer", type=int, default=1000, metavar="N",
                        help="lines read ahead and sorted by length (default 1000)")  # fmt: skip
    parser.add_argument("--max-source-tokens", type=int, default=1024, metavar="N",
                        help="refuse longer lines (default 1024)")  # fmt: skip
    parser.add_argument("--truncate", action="store_true", help="cut longer lines instead")
    parser.add_argument("--replace-invalid", action="store_true",
                        help="put U+FFFD for bytes that are not UTF-8, and for NUL")  # fmt: skip
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    add_decoding_arguments(parser)
    add_model_arguments(parser)
    arguments = parser.parse_args(argv)
    for name in ("input", "output", "attention_map"):
        if getattr(arguments, name) == "":
            option = f"--{name.replace('_', '-')}"
            raise UserError(f"translate: {option} has no value: name a file, or leave it out")
    if arguments.buffer < 1 or arguments.max_source_tokens < 1:
        raise UserError("translate: --buffer and --max-source-tokens must be at least 1")

    if arguments.attention_map:
        from minitf.reports.picture import check_picture

        check_picture(arguments.attention_map)
        if arguments.output and same_place(arguments.attention_map, arguments.output):
            raise UserError(
                f"translate: --output and --attention-map are both {arguments.output}: give two"
            )
    with contextlib.ExitStack() as files:
        source = _open_input(arguments, files)  # before the model: a wrong name is told at once
        translator = load_model(arguments.run_dir, arguments, arguments.attention)
        job = Job(translator, arguments)
        if source is None:
            from minitf.commands.prompt import converse

            converse(job, _open_output(arguments, files))
            return 0
        job.run(source, _open_output(arguments, files))
    return 0


class Job:
    """Translate chunk after chunk, writing each before the next is begun."""

    def __init__(self, translator: "Translator", arguments: argparse.Namespace) -> None:
        from minitf.evaluation.options import decoding_options
        from minitf.evaluation.translate import forced_tokens

        self.translator = translator
        self.arguments = arguments
        self.name = arguments.input or "the input"
        self.map_file: str | None = arguments.attention_map
        self.map_refused: UserError | None = None
        self.lines = 0
        given = decoding_options(
            translator.config.evaluation.decoding, **decoding_arguments(arguments)
        )
        self.numbered = given.n_best > 1
        prefix = arguments.prefix.encode("utf-8", "surrogateescape")  # the bytes that were typed
        text = decode_line(prefix, 1, "--prefix", advice="give it in UTF-8")
        forced_tokens(translator.tokenizer, [translator.as_trained(text)])
        most = translator.model.max_positions
        limit: int = arguments.max_source_tokens
        self.limit = limit if most is None else min(limit, most - 1)  # EOS needs a position too

    def run(self, chunks: Iterator[list[bytes]], output: TextIO) -> None:
        """Translate all chunks; what stands before a bad line is written before it is refused."""
        start = time.monotonic()
        try:
            for chunk in chunks:
                # A chunk's lines are done in another order: only the whole of it can be written.
                notice = f"stopping after {_lines(len(chunk))} more; Ctrl-C again: without them"
                with at_the_end(notice):
                    texts, refused = self.readable(chunk)
                    self.write(self.translate(texts), output)
                if refused is not None:
                    raise refused
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"stopped: {_lines(self.lines)} written") from None
        if not self.arguments.quiet:
            seconds = time.monotonic() - start
            rate = self.lines / max(seconds, 1e-9)
            say(f"translated {_lines(self.lines)} in {seconds:.1f} s ({rate:,.0f} lines/s)")
        if self.map_refused is not None:
            raise self.map_refused
        if self.map_file:
            say("no attention map is drawn: there is no line with text")

    def translate(self, texts: list[str]) -> list["Translation"]:
        """One chunk, in order.

        Raises:
            UserError: An option is out of range, or the memory is too small.
        """
        done = self.lines
        # Where the lines themselves come to the terminal they are the progress.
        to_terminal = sys.stdout.isatty() and not self.arguments.output
        shown = sys.stderr.isatty() and not to_terminal and not self.arguments.quiet

        def progress(count: int) -> None:
            nonlocal done
            done += count
            if shown:
                say(f"\r{_lines(done)}", end="\r")

        prefix = self.arguments.prefix
        advice = "a lower --max-source-tokens, --batch-tokens or --beam-size takes less"
        with told_of_memory(f" after {_lines(self.lines)}: {advice}"):
            return self.translator.translations(
                texts,
                prefixes=[prefix] * len(texts) if prefix else None,
                max_source_tokens=self.limit,
                progress=progress,
                **decoding_arguments(self.arguments),
            )

    def write(self, translations: list["Translation"], output: TextIO) -> None:
        """Write a chunk's translations, and the attention map of the first sentence."""
        if self.arguments.json:
            from minitf.evaluation.records import json_records

            records = json_records(self.translator, translations)
            lines = [json.dumps(record, ensure_ascii=False) for record in records]
        else:
            lines = [
                line
                for number, translation in enumerate(translations, start=self.lines + 1)
                for line in plain_lines(translation, number, numbered=self.numbered)
            ]
        output.write("".join(f"{line}\n" for line in lines))  # at once: none or all of a chunk
        self.lines += len(translations)
        output.flush()
        chosen = next((t for t in translations if t.source_ids), None)
        if self.map_file and chosen is not None:
            self._draw(chosen, self.map_file)
            self.map_file = None

    def _draw(self, translation: "Translation", file: str) -> None:
        from minitf.reports.attention_maps import attention_map_figure
        from minitf.reports.picture import save_picture

        model, tokenizer = self.translator.model, self.translator.tokenizer
        written = translation.hypotheses[0].token_ids
        try:
            figure = attention_map_figure(model, tokenizer, translation.source_ids, written)
            note = save_picture(figure, file, dpi=150)
        except UserError as error:  # told at the end: the lines go before it
            self.map_refused = error
            return
        except OSError as error:
            reason = error.strerror or error
            self.map_refused = UserError(f"{file} could not be written: {reason}")
            return
        if not self.arguments.quiet:
            say(note or f"wrote {file}")

    def readable(self, chunk: list[bytes]) -> tuple[list[str], UserError | None]:
        """The lines up to the first that cannot be translated, and what is wrong with that."""
        texts: list[str] = []
        for raw in chunk:
            number = self.lines + len(texts) + 1
            try:
                text = decode_line(
                    raw, number, self.name, replace=self.arguments.replace_invalid, advice=_ADVICE
                )
                self._check_length(text, number)
            except UserError as error:
                return texts, error
            texts.append(text)
        return texts, None

    def _check_length(self, text: str, number: int) -> None:
        if not text.strip():  # which the model does not see
            return
        length = len(self.translator.tokenizer.encode(self.translator.as_trained(text)))
        if length <= self.limit:
            return
        what = f"line {number} of {self.name} has {length:,} tokens, more than {self.limit:,}"
        if not self.arguments.truncate:
            raise UserError(f"{what}: split it, or give --truncate{self._or_a_higher_limit()}")
        say(f"{what}: the rest is left out")

    def _or_a_higher_limit(self) -> str:
        raised = self.limit == self.arguments.max_source_tokens
        return " or a higher --max-source-tokens" if raised else " (model.max_length is the limit)"


def plain_lines(translation: "Translation", number: int, *, numbered: bool) -> list[str]:
    """What is printed for a sentence: its translation, or a line for each of its n-best.

    Numbered lines are so however few hypotheses a sentence has.
    """
    texts = [one_line(hypothesis.text) for hypothesis in translation.hypotheses]
    if not numbered:
        return texts
    scores = [hypothesis.score for hypothesis in translation.hypotheses]
    return [f"{number}\t{score:.4f}\t{text}" for score, text in zip(scores, texts, strict=True)]


def _open_input(
    arguments: argparse.Namespace, files: contextlib.ExitStack
) -> Iterator[list[bytes]] | None:
    """Chunks of lines; None for the prompt."""
    if arguments.text is not None:
        if arguments.input:
            raise UserError("translate: give --text or --input, not both")
        return iter([[text.encode("utf-8", "surrogateescape") for text in arguments.text]])
    if arguments.input:
        # Opening the output would empty it before it is read.
        refuse_to_overwrite(arguments.input, arguments.output, "translate: --output")
        refuse_to_overwrite(arguments.input, arguments.attention_map, "translate: --attention-map")
        stream = Path(arguments.input).open("rb")  # noqa: SIM115
        if Path(arguments.input).is_file():  # not so a pipe: closing waits for a thread that reads
            files.enter_context(stream)
        return read_chunks(stream, arguments.buffer, arguments.input)
    if sys.stdin is None:
        raise UserError("translate: standard input is closed: give --input FILE or --text")
    if sys.stdin.isatty():
        if sys.stdout.isatty() and not arguments.output:
            return None
        say("type lines, and Ctrl-D at the end")
    refuse_to_overwrite(0, arguments.output, "translate: --output")
    refuse_to_overwrite(0, arguments.attention_map, "translate: --attention-map")
    return _stdin_chunks(arguments.buffer)


def _stdin_chunks(size: int) -> Iterator[list[bytes]]:
    # A reader of its own, which nothing closes: Python waits or aborts where a thread still reads
    # from the one that is closed.
    yield from read_chunks(open(sys.stdin.fileno(), "rb", closefd=False), size)  # noqa: SIM115


def _open_output(arguments: argparse.Namespace, files: contextlib.ExitStack) -> TextIO:
    if arguments.output:
        path = Path(arguments.output)
        return files.enter_context(path.open("w", encoding="utf-8", newline="\n"))
    output: Any = sys.stdout
    if hasattr(output, "reconfigure"):
        output.reconfigure(encoding="utf-8", newline="\n")  # whatever the locale
    return output  # type: ignore[no-any-return]


def _lines(count: int) -> str:
    return f"{count:,} line{'' if count == 1 else 's'}"
