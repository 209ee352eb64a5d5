"""The words of the grammar: the tables as objects."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast, get_args

from minitf.data.scenes.entries import (
    Adjective,
    Determiner,
    Frame,
    Gender,
    Modal,
    NameForms,
    Noun,
    Place,
    Preposition,
    PronounForms,
    Time,
    Verb,
    Word,
)
from minitf.data.scenes.tables import rows, spelled, words

# Tags that others imply, so that the tables need not repeat them.
_IMPLIED = {
    "adult": "person",
    "child": "person",
    "elder": "person",
    "pet": "animal",
    "prey": "animal",
    "livestock": "animal",
    "wild": "animal",
    "exotic": "animal",
    "woodland": "animal",
}


def _noun(row: list[str]) -> Noun:
    english, english_plural, german, gender, genitive, plural, tags = row
    tagged = set(words(tags)) | {english.replace(" ", "_")}
    tagged |= {_IMPLIED[tag] for tag in tagged if tag in _IMPLIED}
    assert gender in get_args(Gender), german
    return Noun(
        english, spelled(english_plural), german, cast(Gender, gender), genitive, spelled(plural),
        frozenset(tagged),
    )  # fmt: skip


def _adjective(row: list[str]) -> Adjective:
    english, german, stem, english_comparative, german_comparative, nouns = row
    return Adjective(
        english, german, german if stem == "-" else stem, spelled(english_comparative),
        spelled(german_comparative),
        frozenset(noun for noun in words(nouns) if noun[0] != "!"),
        frozenset(noun[1:] for noun in words(nouns) if noun[0] == "!"),
    )  # fmt: skip


def _verb(row: list[str]) -> Verb:
    english, english_past, english_ing, infinitive, present, past = row
    english, _, particle = english.replace("_", " ").partition("|")
    prefix, _, bare = infinitive.rpartition("|")
    auxiliary, _, participle = past.rpartition(" ")
    return Verb(
        english, particle, english_past, english_ing, bare, prefix, present,
        auxiliary=auxiliary, participle=participle if auxiliary else "",
        past="" if auxiliary else past,
    )  # fmt: skip


NOUNS = tuple(map(_noun, rows("nouns", 7)))
ADJECTIVES = tuple(map(_adjective, rows("adjectives", 6)))
VERBS = tuple(map(_verb, rows("verbs", 6)))
DETERMINERS = tuple(Determiner(*map(spelled, row)) for row in rows("determiners", 5))
PRONOUNS = tuple(PronounForms(*row) for row in rows("pronouns", 8))  # type: ignore[arg-type]
PEOPLE = tuple(NameForms(*row) for row in rows("names", 3) if row[2] != "city")
CITIES = tuple(NameForms(*row) for row in rows("names", 3) if row[2] == "city")
NUMERALS = tuple(Word(*row) for row in rows("numerals", 2))
MANNERS = tuple(Word(*row) for row in rows("adverbs", 2))
TIMES = tuple(Time(row[0], row[1], words(row[2]), row[3]) for row in rows("times", 4))
MODALS = tuple(Modal(*map(spelled, row)) for row in rows("modals", 7))

NOUN = {noun.english.replace(" ", "_"): noun for noun in NOUNS}
MANNER = {manner.english: manner for manner in MANNERS}
VERB = {
    (
        f"{verb.english}|{verb.particle}".rstrip("|").replace(" ", "_"),
        verb.prefix + verb.infinitive,
    ): verb
    for verb in VERBS
}
DETERMINER = {determiner.english or determiner.english_plural: determiner
              for determiner in DETERMINERS}  # fmt: skip
THE, A, THIS, EVERY, WHICH, NO = (
    DETERMINER[word] for word in ("the", "a", "this", "every", "which", "no")
)
BARE = next(each for each in DETERMINERS if not each.stem)
POSSESSIVE = {word: DETERMINER[word] for word in ("my", "his", "her", "our", "their")}
I, HE, SHE, WE, THEY, IT_M, IT_F, IT_N = PRONOUNS


def nouns_with(tags: Iterable[str]) -> tuple[Noun, ...]:
    """Nouns that have one of the tags or names, in the table's order."""
    wanted = frozenset(tags)
    return tuple(noun for noun in NOUNS if noun.has(wanted))


def _places(row: list[str]) -> list[Place]:
    nouns, at_english, at_german, to_english, to_german, kinds = row
    german_source = "aus" if at_german == "in" else "von"
    out, source = (Preposition(word, german_source, "dat") for word in ("out of", "from"))
    at = Preposition(spelled(at_english), at_german, "dat")
    to = Preposition(spelled(to_english), to_german, "dat" if to_german == "zu" else "acc")
    tags = words(kinds)
    return [
        Place(NOUN[noun], at, to, out, source, frozenset((*tags, noun) if "*" in tags else tags))
        for noun in words(nouns)
    ]


PLACES = tuple(place for row in rows("places", 6) for place in _places(row))


def places_of(kinds: Iterable[str]) -> tuple[Place, ...]:
    """Places of one of these kinds, in the table's order."""
    wanted = frozenset(kinds)
    return tuple(place for place in PLACES if not place.kinds.isdisjoint(wanted))


def _frame(row: list[str]) -> Frame:
    english, german, subject, dative, accusative, complement, places, manners, flags = row
    kind, _, of = complement.partition(":")
    governed: Preposition | None = None
    governed_nouns: tuple[Noun, ...] = ()
    targets: tuple[Place, ...] = ()
    if "/" in kind:
        words_english, preposition, case = kind.split("/")
        governed = Preposition(spelled(words_english), preposition, case)  # type: ignore[arg-type]
        governed_nouns, kind = nouns_with(words(of)), "governed"
    elif kind in ("at", "to", "out", "from"):
        targets = places_of(words(of))
    return Frame(
        VERB[english, german.replace("|", "")], nouns_with(words(subject)), words(subject),
        nouns_with(words(dative)), nouns_with(words(accusative)), spelled(kind), governed,
        governed_nouns, targets, places_of(words(places)),
        tuple(MANNER[manner] for manner in words(manners)), frozenset(words(flags)),
    )  # fmt: skip


FRAMES = tuple(map(_frame, rows("frames", 9)))
