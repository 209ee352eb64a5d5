"""What the lexicon holds: one class to a part of speech.

Every entry is one object, compared by identity, so that it can be a dictionary's key at no cost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Gender = Literal["m", "f", "n"]
Case = Literal["nom", "acc", "dat", "gen"]
Agreement = Literal["1", "3", "p"]
"""What a verb agrees with: I, a third person singular, a plural."""


@dataclass(frozen=True, eq=False, slots=True)
class Noun:
    """A noun; plurals are empty where none is used."""

    english: str
    english_plural: str
    german: str
    gender: Gender
    genitive: str
    plural: str
    tags: frozenset[str]

    def has(self, wanted: Iterable[str]) -> bool:
        """Whether the noun has one of these tags, or this name."""
        return not self.tags.isdisjoint(wanted)


@dataclass(frozen=True, eq=False, slots=True)
class Adjective:
    """An adjective; `stem` is what endings are added to, comparatives are empty where unused."""

    english: str
    german: str
    stem: str
    english_comparative: str
    german_comparative: str
    nouns: frozenset[str]
    """Tags or names of nouns that can have the quality, without those of `never`."""
    never: frozenset[str]

    def suits(self, noun: Noun) -> bool:
        """Whether it makes sense to say it of the noun."""
        return noun.has(self.nouns) and not noun.has(self.never)


@dataclass(frozen=True, eq=False, slots=True)
class Verb:
    """A verb. `past` is the third person of the preterite where German uses it, else empty."""

    english: str
    particle: str
    english_past: str
    english_ing: str
    infinitive: str
    prefix: str
    present: str
    auxiliary: str
    participle: str
    past: str


@dataclass(frozen=True, eq=False, slots=True)
class Determiner:
    """A word before a noun. `declension`: der, dieser, ein or none; `adjective`: its endings."""

    english: str
    english_plural: str
    stem: str
    declension: str
    adjective: str


@dataclass(frozen=True, eq=False, slots=True)
class PronounForms:
    """A personal pronoun's forms in both languages."""

    english: str
    english_object: str
    english_possessive: str
    nominative: str
    accusative: str
    dative: str
    reflexive: str
    agreement: Agreement


@dataclass(frozen=True, eq=False, slots=True)
class NameForms:
    """A person's or city's name; `kind` is m, f or city."""

    english: str
    german: str
    kind: str


@dataclass(frozen=True, eq=False, slots=True)
class Word:
    """An adverb, numeral or other word that has one form in each language."""

    english: str
    german: str


@dataclass(frozen=True, eq=False, slots=True)
class Time:
    """An adverbial of time; `scale` is often (a frequency), day, season or long."""

    english: str
    german: str
    tenses: tuple[str, ...]
    scale: str


@dataclass(frozen=True, eq=False, slots=True)
class Modal:
    """A modal verb; English forms it with an auxiliary, as a verb (`wants to`) or with `be`."""

    english: str
    english_past: str
    tail: str
    kind: str
    singular: str
    plural: str
    past: str

    @property
    def is_adverb(self) -> bool:
        """Whether German says it with an adverb: likes to read, liest gern."""
        return self.singular == "gern"


@dataclass(frozen=True, eq=False, slots=True)
class Preposition:
    """A preposition and the German case that it governs here."""

    english: str
    german: str
    case: Case


@dataclass(frozen=True, eq=False, slots=True)
class Place:
    """A noun with its prepositions of rest, of arrival and of departure (out of, from)."""

    noun: Noun
    at: Preposition
    to: Preposition
    out: Preposition
    source: Preposition
    kinds: frozenset[str]


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """What a verb is used with; see the comment on top of tables/frames.txt."""

    verb: Verb
    subjects: tuple[Noun, ...]
    subject_tags: tuple[str, ...]
    datives: tuple[Noun, ...]
    accusatives: tuple[Noun, ...]
    complement: str
    governed: Preposition | None
    governed_nouns: tuple[Noun, ...]
    targets: tuple[Place, ...]
    places: tuple[Place, ...]
    manners: tuple[Word, ...]
    flags: frozenset[str]
