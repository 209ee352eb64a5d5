"""Text in, text out: tokenise, sort by length, decode batch by batch, put back in order."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from textwrap import shorten

import torch

from minitf.config.errors import UserError
from minitf.config.schema import DecodingConfig
from minitf.decoding import Hypothesis, generate_all
from minitf.model import Transformer
from minitf.tokenizer import TextTokenizer


@dataclass(frozen=True)
class ScoredText:
    """One hypothesis as text."""

    text: str
    token_ids: list[int]
    """Without BOS and EOS."""
    log_prob: float
    """The model's log-probability of the tokens and EOS, in nats."""
    score: float
    """What hypotheses were ranked by: the log-probability after the length penalty."""
    finished: bool
    """False where the maximum length cut the sentence off."""


@dataclass(frozen=True)
class Translation:
    """A source sentence and its hypotheses, best first."""

    source: str
    source_ids: list[int]
    """Without EOS."""
    hypotheses: list[ScoredText]

    @property
    def text(self) -> str:
        """The best hypothesis."""
        return self.hypotheses[0].text


def translate_texts(
    model: Transformer,
    tokenizer: TextTokenizer,
    texts: Sequence[str],
    decoding: DecodingConfig | None = None,
    device: torch.device | str | None = None,
    *,
    max_source_tokens: int | None = None,
    prefixes: Sequence[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Translation]:
    """Translate texts; result i belongs to text i.

    A text of nothing, or of white space alone, is not given to the model: it has one hypothesis,
    the empty one. The model is put into evaluation mode meanwhile, and back afterwards.

    Args:
        model: The trained model.
        tokenizer: The tokenizer it was trained with.
        texts: One sentence each.
        decoding: How to choose tokens; None: greedy.
        device: Where to run; None: where the model is.
        max_source_tokens: Cut sources after this many tokens; None: leave them whole.
        prefixes: What each translation must begin with.
        progress: Called after each batch with the number of sentences it held.

    Returns:
        A translation per text, in the order of the texts.

    Raises:
        UserError: as `generate` and `forced_tokens` do, and for sources cut to no token.
    """
    if max_source_tokens is not None and max_source_tokens < 1:
        raise UserError(f"max_source_tokens must be at least 1; received {max_source_tokens}")
    decoding = decoding or DecodingConfig()
    device = next(model.parameters()).device if device is None else torch.device(device)
    shown = [text if text.strip() else "" for text in texts]
    sources = [ids[:max_source_tokens] for ids in tokenizer.encode_batch(shown)]
    forced = forced_tokens(tokenizer, prefixes) if prefixes is not None else None
    results: list[Translation | None] = [None] * len(texts)
    empty = [i for i, ids in enumerate(sources) if not ids]
    for i in empty:
        results[i] = Translation(texts[i], [], [ScoredText("", [], 0.0, 0.0, True)])
    if progress and empty:
        progress(len(empty))

    was_training = model.training
    model.eval()
    try:
        for rows, found in generate_all(
            model,
            sources,
            bos_id=tokenizer.bos_id,
            eos_id=tokenizer.eos_id,
            pad_id=tokenizer.pad_id,
            config=decoding,
            prefix=forced,
            device=device,
        ):
            for i, hypotheses in zip(rows, _as_text(tokenizer, found), strict=True):
                results[i] = Translation(texts[i], sources[i], hypotheses)
            if progress:
                progress(len(rows))
    finally:
        model.train(was_training)
    return [result for result in results if result is not None]


def forced_tokens(tokenizer: TextTokenizer, prefixes: Sequence[str]) -> list[list[int]]:
    """The tokens of what translations must begin with.

    Raises:
        UserError: One holds a character that the vocabulary has no token for, or a lone surrogate.
    """
    forced = tokenizer.encode_batch(list(prefixes))
    for prefix, ids in zip(prefixes, forced, strict=True):
        if tokenizer.unk_id in ids:
            raise UserError(
                f"the prefix {shorten(prefix, 60)!r} holds a character that the vocabulary has no "
                f"token for: leave it out"
            )
    return forced


def _as_text(
    tokenizer: TextTokenizer, found: Sequence[Sequence[Hypothesis]]
) -> list[list[ScoredText]]:
    flat = [hypothesis for hypotheses in found for hypothesis in hypotheses]
    texts = iter(tokenizer.decode_batch([list(h.tokens) for h in flat]))
    return [
        [
            ScoredText(next(texts), list(h.tokens), float(h.log_prob), float(h.score), h.finished)
            for h in hypotheses
        ]
        for hypotheses in found
    ]
