"""The tokenizer of a run: one vocabulary for source and target."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from minitf.config.errors import UserError
from minitf.config.whole_file import whole_file
from minitf.tokenizer.pieces import SPECIALS, readable_piece

Ids = list[int]


class TextTokenizer:
    """Encodes text as token numbers and decodes them; wraps a `tokenizers.Tokenizer`.

    The file it saves is a plain `tokenizer.json` that the `tokenizers` and `transformers` packages
    read. Text that looks like a special token ("</s>") is ordinary text: specials are only ever
    added as numbers.

    Attributes:
        pad_id: 0, fills batches.
        bos_id: 1, begins every target.
        eos_id: 2, ends every source and target.
        unk_id: 3, what a word or character that was not in the training text becomes; byte-level
            BPE never needs it.
    """

    pad_id, bos_id, eos_id, unk_id = range(len(SPECIALS))

    def __init__(self, tokenizer: Tokenizer) -> None:
        found = [tokenizer.id_to_token(number) for number in range(len(SPECIALS))]
        if found != list(SPECIALS):
            raise UserError(
                f"a tokenizer's tokens 0 to 3 must be {' '.join(SPECIALS)}, got {found}; "
                "use one that train_tokenizer made"
            )
        # Neither is safe to take from a file: the first is not saved in it, and the others would
        # cut and fill sentences behind batching's back.
        tokenizer.encode_special_tokens = True
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._labels: list[str] | None = None

    @property
    def backend(self) -> Tokenizer:
        """The wrapped tokenizer; not to be changed."""
        return self._tokenizer

    @property
    def vocab_size(self) -> int:
        """Number of tokens, the specials counted."""
        return self._tokenizer.get_vocab_size()

    @property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that depend on what the tokenizer does, on nothing else."""
        return hashlib.blake2b(self._tokenizer.to_str().encode(), digest_size=8).hexdigest()

    def encode(self, text: str) -> Ids:
        """The text's token numbers, without specials.

        Raises:
            UserError: The text is not Unicode (it holds a lone surrogate).
        """
        return self.encode_batch([text])[0]

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """`encode` for many texts, in parallel.

        Raises:
            UserError: A text is not Unicode (it holds a lone surrogate); its number is named.
        """
        # Undecided, `tokenizers` warns in every process that is forked later.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        try:
            encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        except TypeError:
            _refuse_surrogates(texts)
            raise
        return [one.ids for one in encoded]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token numbers, up to the first EOS; BOS and padding leave no trace.

        Exactly what was encoded, except where `<unk>` stands for what the vocabulary lacks. Bytes
        that do not form a character, which only a model can produce, become U+FFFD.
        """
        return self.decode_batch([ids])[0]

    def decode_batch(self, batch: Sequence[Sequence[int]]) -> list[str]:
        """`decode` for many, in parallel."""
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        texts = [self._text_ids(ids) for ids in batch]
        return list(self._tokenizer.decode_batch(texts, skip_special_tokens=False))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """A readable label for each token, for plots: `▁` is a leading space, specials are kept."""
        if self._labels is None:
            self._labels = [
                readable_piece(self._tokenizer, number) for number in range(self.vocab_size)
            ]
        return [self._labels[number] for number in ids]

    def save(self, path: str | Path) -> None:
        """Write the tokenizer as JSON; the file is whole or absent."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_text(self._tokenizer.to_str(pretty=True), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> TextTokenizer:
        """Read a tokenizer that `save` wrote.

        Raises:
            UserError: No such file, not a tokenizer, or not one of this project.
        """
        path = Path(path)
        if not path.is_file():
            raise UserError(f"no tokenizer at {path}; a run directory holds one as tokenizer.json")
        try:
            tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # plain Exception, and a Rust panic, which is none
            reason = " ".join(str(error).split())
            raise UserError(f"{path} is not a tokenizer file: {reason}") from error
        try:
            return cls(tokenizer)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    def _text_ids(self, ids: Sequence[int]) -> Ids:
        kept = []
        for number in ids:
            if number == self.eos_id:
                break
            if number not in (self.pad_id, self.bos_id):
                kept.append(number)
        return kept


def _refuse_surrogates(texts: Sequence[str]) -> None:
    for number, text in enumerate(texts):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise UserError(
                f"text {number + 1} of {len(texts)} is not Unicode: it holds a lone surrogate; "
                "read it as UTF-8"
            ) from None
