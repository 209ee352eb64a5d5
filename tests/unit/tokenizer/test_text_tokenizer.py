"""Round trips, special tokens, labels, files."""

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minitf.config.errors import UserError
from minitf.config.schema import TokenizerConfig, TokenizerKind
from minitf.tokenizer import TextTokenizer, train_tokenizer
from minitf.tokenizer.pieces import SPECIALS

TEXTS = [
    "Ein kleiner Hund läuft über die Wiese.",
    "Zwei Hunde laufen , zwei Katzen schlafen .",
    "Ein Hund schläft; eine Katze läuft.",
] * 3


def trained(kind: TokenizerKind, texts: list[str] = TEXTS, size: int = 320) -> TextTokenizer:
    return train_tokenizer(texts, TokenizerConfig(name=kind, vocab_size=size, min_frequency=1))


BPE, WORD, CHAR = (trained(kind) for kind in TokenizerKind)
ALL = {"bpe": BPE, "word": WORD, "char": CHAR}
UNICODE = st.text(st.characters(exclude_categories=["Cs"]))


@given(UNICODE)
@example("")
@example(" ")
@example("  leading and trailing  ")
@example("\u3000ideographic space\u00a0")
@example("\x00\x01\x1b[0m\r\n\t\x7f\x85\u2028")
@example("👩\u200d👩\u200d👧 🇩🇪 e\u0301 ﷽")
@example("<pad> <s>text</s> <unk> [EOS] [PAD]")
@example("Ġ Ċ ▁")
def test_bpe_gives_back_any_text(text: str) -> None:
    ids = BPE.encode(text)
    assert BPE.decode(ids) == text
    assert not set(ids) & set(range(len(SPECIALS)))


@given(st.lists(UNICODE, max_size=7))
def test_batches_are_encoded_and_decoded_as_single_texts_are(texts: list[str]) -> None:
    for tokenizer in ALL.values():
        ids = tokenizer.encode_batch(texts)
        assert ids == [tokenizer.encode(text) for text in texts]
        assert tokenizer.decode_batch(ids) == [tokenizer.decode(one) for one in ids]


@given(st.text("Einkler Hudläftübs.,;", max_size=40))
def test_characters_give_back_what_they_know(text: str) -> None:
    assert CHAR.decode(CHAR.encode(text)) == text
    assert len(CHAR.encode(text)) == len(text)


@given(st.lists(st.sampled_from(["Ein", "Hund", "läuft", "schläft", "eine"]), max_size=9))
def test_words_give_back_what_they_know(words: list[str]) -> None:
    text = " ".join(words)
    assert WORD.decode(WORD.encode(text)) == text
    assert len(WORD.encode(text)) == len(words)


def test_words_keep_the_spaces_that_stand_before_them() -> None:
    assert WORD.decode(WORD.encode("Ein Hund läuft. eine Katze , zwei")) == (
        "Ein Hund läuft. eine Katze , zwei"
    )
    assert WORD.pieces(WORD.encode("Hund läuft.")) == ["▁Hund", "▁läuft", "."]


def test_an_unknown_word_becomes_unk_with_its_space() -> None:
    ids = WORD.encode("Ein Zebra läuft.")
    assert ids[1] == WORD.unk_id
    assert WORD.decode(ids) == "Ein <unk> läuft."
    assert WORD.decode(WORD.encode("Zebra läuft")) == "<unk> läuft"


def test_an_unknown_character_becomes_unk() -> None:
    assert CHAR.decode(CHAR.encode("Eßn")) == "E<unk>n"


@pytest.mark.parametrize("tokenizer", ALL.values(), ids=ALL)
def test_text_that_looks_like_a_special_token_is_text(
    tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    for one in (tokenizer, TextTokenizer.load(tmp_path / "tokenizer.json")):
        ids = one.encode("</s>")
        assert one.eos_id not in ids
        assert one.pad_id not in one.encode("<pad>")


@pytest.mark.parametrize("tokenizer", ALL.values(), ids=ALL)
def test_decoding_stops_at_eos_and_leaves_out_specials(tokenizer: TextTokenizer) -> None:
    text = "Ein Hund läuft."
    ids = tokenizer.encode(text)
    framed = [tokenizer.bos_id, *ids, tokenizer.eos_id, *ids, tokenizer.pad_id]
    assert tokenizer.decode(framed) == text
    assert tokenizer.decode([tokenizer.eos_id, *ids]) == ""


def test_a_word_has_the_same_tokens_at_the_beginning_and_inside() -> None:
    tokenizer = trained(TokenizerKind.bpe, size=400)
    first, second = tokenizer.encode("Hund"), tokenizer.encode("Ein Hund")
    assert second[-len(first) :] == first


def test_bytes_that_are_no_text_decode_to_a_replacement_character() -> None:
    two_bytes = BPE.encode("ÿ")
    assert BPE.decode(two_bytes[:-1]) == "\ufffd"


def test_labels_are_readable() -> None:
    assert BPE.pieces([0, 1, 2, 3]) == list(SPECIALS)
    ids = trained(TokenizerKind.bpe, size=400).encode("Ein Hund läuft\n\u00ad")
    labels = trained(TokenizerKind.bpe, size=400).pieces(ids)
    assert labels[:3] == ["▁Ein", "▁Hund", "▁läuft"]
    assert labels[3] == "\\n"
    assert labels[4:] == ["\\xc2", "\\xad"]
    assert all(label.isprintable() and label for label in BPE.pieces(range(BPE.vocab_size)))


def test_labels_of_characters_and_words_show_spaces() -> None:
    assert CHAR.pieces(CHAR.encode("n l")) == ["n", "▁", "l"]
    assert WORD.pieces(WORD.encode("Ein  Hund")) == ["▁Ein", "<unk>", "▁Hund"]


@pytest.mark.parametrize("tokenizer", ALL.values(), ids=ALL)
def test_a_saved_tokenizer_is_the_same(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    path = tmp_path / "run" / "tokenizer.json"
    tokenizer.save(path)
    loaded = TextTokenizer.load(path)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.vocab_size == tokenizer.vocab_size
    text = "Ein Hund, zwei Katzen </s> 🙂"
    assert loaded.encode(text) == tokenizer.encode(text)
    assert [file.name for file in path.parent.iterdir()] == ["tokenizer.json"]


def test_truncation_and_padding_in_a_file_are_not_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    BPE.save(path)
    content = json.loads(path.read_text())
    content["truncation"] = {
        "direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0,
    }  # fmt: skip
    content["padding"] = {
        "strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>",
    }  # fmt: skip
    path.write_text(json.dumps(content))
    text = "Ein kleiner Hund läuft über die Wiese."
    assert TextTokenizer.load(path).encode(text) == BPE.encode(text)


def test_fingerprints_tell_tokenizers_apart() -> None:
    assert len({one.fingerprint for one in [*ALL.values(), trained(TokenizerKind.bpe)]}) == 3


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        TextTokenizer.load(tmp_path / "tokenizer.json")
    assert str(caught.value) == (
        f"no tokenizer at {tmp_path}/tokenizer.json; a run directory holds one as tokenizer.json"
    )


def test_a_file_that_makes_the_package_panic_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    BPE.save(path)
    content = json.loads(path.read_text())
    content["model"]["continuing_subword_prefix"] = "???"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"^{path} is not a tokenizer file: .*$"):
        TextTokenizer.load(path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    BPE.save(path)
    path.write_text(path.read_text()[:99])
    with pytest.raises(UserError, match=rf"^{path} is not a tokenizer file: .*$"):
        TextTokenizer.load(path)


def test_a_tokenizer_with_other_specials_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    BPE.save(path)
    path.write_text(path.read_text().replace("<pad>", "[PAD]"))
    with pytest.raises(UserError) as caught:
        TextTokenizer.load(path)
    assert str(caught.value) == (
        f"{path}: a tokenizer's tokens 0 to 3 must be <pad> <s> </s> <unk>, got "
        "['[PAD]', '<s>', '</s>', '<unk>']; use one that train_tokenizer made"
    )


def test_a_lone_surrogate_is_refused_with_its_number() -> None:
    with pytest.raises(UserError) as caught:
        BPE.encode_batch(["a", "b\ud800", "c"])
    assert str(caught.value) == (
        "text 2 of 3 is not Unicode: it holds a lone surrogate; read it as UTF-8"
    )
