"""How each kind of tokenizer cuts text, and how its pieces read."""

from __future__ import annotations

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>")
"""Tokens 0 to 3."""

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
"""One printable character for each of the 256 bytes, as GPT-2 writes them."""

_WORD = Regex(r" ?\w+| ?[^\w\s]|\s")
"""A word or one punctuation mark, with the space before it; other white space by itself."""


def new_bpe() -> Tokenizer:
    """Byte-level BPE (Sennrich et al. 2016 on the bytes of Radford et al. 2019), untrained.

    Words are cut at white space and between letters, digits and punctuation, and keep the space
    before them. One space is put before the text and taken off after decoding, so that a word has
    the same tokens at the beginning of a sentence as inside it.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteLevel(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def new_words() -> Tokenizer:
    """Words and punctuation marks, untrained.

    The round trip is exact for every text whose words and marks were seen in training: spaces
    belong to the word they stand before. What was not seen becomes `<unk>`.
    """
    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIALS[3]))
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(_WORD, behavior="isolated")
    tokenizer.decoder = decoders.Sequence([_spaced_unk(), decoders.Fuse(), decoders.Strip(" ", 1)])
    return tokenizer


def new_characters() -> Tokenizer:
    """One token to a Unicode code point, untrained.

    The round trip is exact for every text whose characters were seen in training.
    """
    tokenizer = Tokenizer(models.WordLevel(unk_token=SPECIALS[3]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def words_of(tokenizer: Tokenizer, text: str) -> list[str]:
    """What a text is cut into before merges: words of byte characters, for BPE."""
    text = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    return [word for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def readable_piece(tokenizer: Tokenizer, number: int) -> str:
    r"""A token as a label: `▁Hund`, `<s>`, `\n`; bytes that are no text as `\xc3`."""
    token = str(tokenizer.id_to_token(number))
    if number < len(SPECIALS):
        return token
    if isinstance(tokenizer.model, models.BPE):
        token = _bytes_of(token).decode(errors="backslashreplace")
    shown = token.replace(" ", "▁")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in shown)


def _bytes_of(token: str) -> bytes:
    return bytes(_BYTE_OF[character] for character in token)


def _byte_characters() -> dict[str, int]:
    # GPT-2's table: printable Latin-1 stands for itself, the others follow from U+0100 on.
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    return table | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_BYTE_OF = _byte_characters()


def _spaced_unk() -> decoders.Decoder:
    # An unknown word takes its space with it into <unk>.
    return decoders.Replace(Regex("^<unk>$"), " <unk>")
