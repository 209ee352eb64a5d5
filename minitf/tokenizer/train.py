"""Training a tokenizer, at most once for the same text and options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import trainers

from minitf.config.errors import UserError
from minitf.config.schema import TokenizerConfig, TokenizerKind
from minitf.data.cache import kept
from minitf.tokenizer.pieces import BYTES, SPECIALS, new_bpe, new_characters, new_words
from minitf.tokenizer.text_tokenizer import TextTokenizer

_MOST = 1_000_000  # the library makes room for all at once
_FORMAT = 1
"""Raised when the code below makes another tokenizer of the same text and options."""


def train_tokenizer(
    texts: Iterable[str],
    config: TokenizerConfig,
    cache_dir: str | Path | None = None,
    text_digest: str | None = None,
) -> TextTokenizer:
    """A tokenizer whose vocabulary comes from the given text, or the one at `config.path`.

    Args:
        texts: the training split, source and target together.
        config: kind, vocabulary size (specials and, for BPE, the 256 bytes counted) and
            min_frequency (for BPE of a merge, else of a word or character). Where the text has
            fewer merges or words, the vocabulary is smaller.
        cache_dir: where trained tokenizers are kept, by a digest of text and options; the same
            request is then answered from there. None: always train.
        text_digest: of `texts`, where one is known: then what is kept is found without them.

    Raises:
        UserError: An option out of range, no text, or no tokenizer at `config.path`.
    """
    if config.path is not None:
        return TextTokenizer.load(config.path)
    _check(config)
    if cache_dir is None:
        return _train(list(texts), config)
    if text_digest is None:
        texts = list(texts)
        text_digest = _text_digest(texts)
    # Dropout acts when text is encoded: it leaves no trace in the tokenizer.
    options = [
        _FORMAT, tokenizers.__version__, config.name.value, config.vocab_size, config.min_frequency,
        text_digest,
    ]  # fmt: skip
    digest = hashlib.blake2b(json.dumps(options).encode(), digest_size=16).hexdigest()
    return kept(
        Path(cache_dir) / f"tokenizer-{digest}.json",
        lambda: _train(list(texts), config),
        TextTokenizer.load,
        TextTokenizer.save,
    )


def _train(texts: list[str], config: TokenizerConfig) -> TextTokenizer:
    if not any(texts):
        raise UserError("a tokenizer needs text to be trained on, got none")
    common: dict[str, Any] = {
        "vocab_size": config.vocab_size,
        "min_frequency": config.min_frequency,
        "special_tokens": list(SPECIALS),
        "show_progress": False,
    }
    trainer: trainers.Trainer
    if config.name == TokenizerKind.bpe:
        tokenizer = new_bpe()
        # With all 256 bytes in the vocabulary no text is ever unknown.
        trainer = trainers.BpeTrainer(initial_alphabet=BYTES, **common)
    else:
        tokenizer = new_words() if config.name == TokenizerKind.word else new_characters()
        trainer = trainers.WordLevelTrainer(**common)
    try:
        tokenizer.train_from_iterator(texts, trainer)
    except TypeError as error:
        raise UserError("the training text holds a lone surrogate; read it as UTF-8") from error
    if tokenizer.get_vocab_size() == len(SPECIALS):
        raise UserError(
            f"tokenizer={config.name.value} knows nothing of the training text: no entry occurs "
            f"tokenizer.min_frequency={config.min_frequency} times; lower it"
        )
    return TextTokenizer(tokenizer)


def _check(config: TokenizerConfig) -> None:
    least = len(SPECIALS) + (len(BYTES) if config.name == TokenizerKind.bpe else 1)
    if config.vocab_size < least:
        counted = "4 specials and 256 bytes" if config.name == TokenizerKind.bpe else "4 specials"
        raise UserError(
            f"tokenizer.vocab_size must be at least {least} for {config.name.value} "
            f"({counted} counted), got {config.vocab_size}"
        )
    if config.vocab_size > _MOST:
        raise UserError(f"tokenizer.vocab_size must be at most {_MOST:,}, got {config.vocab_size}")
    if not 1 <= config.min_frequency <= _MOST:
        raise UserError(
            f"tokenizer.min_frequency must be from 1 to {_MOST:,}, got {config.min_frequency}"
        )
    if not 0.0 <= config.dropout < 1.0:
        raise UserError(f"tokenizer.dropout must be at least 0 and below 1, got {config.dropout}")
    if config.dropout > 0 and config.name != TokenizerKind.bpe:
        raise UserError(
            f"tokenizer.dropout leaves out BPE merges; tokenizer={config.name.value} has none: "
            "use 0"
        )


def _text_digest(texts: list[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in texts:
        data = text.encode("utf-8", errors="surrogatepass")
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()
