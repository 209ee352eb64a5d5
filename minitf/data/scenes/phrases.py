"""What a sentence says, before it is put into words: nominals and clauses.

These objects hold entries of the lexicon and how they are combined; `english.py` and `german.py`
each turn the same object into text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from minitf.data.scenes.entries import (
    Adjective,
    Agreement,
    Determiner,
    Modal,
    NameForms,
    Noun,
    Preposition,
    PronounForms,
    Time,
    Verb,
    Word,
)
from minitf.data.scenes.lexicon import HE, IT_F, IT_M, IT_N, SHE, THEY

Tense = Literal["present", "progressive", "past", "future"]


@dataclass(slots=True)
class NounPhrase:
    """A noun with what stands before it, an owner (genitive) and a relative clause."""

    determiner: Determiner
    noun: Noun
    plural: bool = False
    adjective: Adjective | None = None
    numeral: Word | None = None
    owner: Nominal | None = None
    part: bool = False
    """Whether English says the owner with `of`, as for the roof of the house."""
    relative: Clause | None = None


@dataclass(slots=True)
class Pronoun:
    """A personal pronoun."""

    forms: PronounForms


@dataclass(slots=True)
class Name:
    """A person's or a city's name."""

    forms: NameForms


@dataclass(slots=True)
class Couple:
    """Two nominals joined by `and`."""

    first: Nominal
    second: Nominal


@dataclass(slots=True)
class Relative:
    """The relative pronoun that stands for `antecedent` within its relative clause."""

    antecedent: NounPhrase


@dataclass(slots=True)
class Interrogative:
    """Who or what, as a question's subject or object."""

    person: bool


Nominal = NounPhrase | Pronoun | Name | Couple | Relative | Interrogative


@dataclass(slots=True)
class Adjunct:
    """A preposition with its nominal."""

    preposition: Preposition
    nominal: Nominal


@dataclass(slots=True)
class Predicate:
    """What `be` says of its subject: an adjective, a comparison, a kind, or fixed words."""

    adjective: Adjective | None = None
    degree: Word | None = None
    than: Nominal | None = None
    kind: NounPhrase | None = None
    words: Word | None = None


@dataclass(slots=True)
class Clause:
    """A verb with its arguments and adverbials."""

    subject: Nominal
    verb: Verb
    tense: Tense = "present"
    modal: Modal | None = None
    negated: bool = False
    dative: Nominal | None = None
    to_dative: bool = False
    """Whether English says the dative with `to`."""
    accusative: Nominal | None = None
    reflexive: bool = False
    complement: Adjunct | None = None
    """Where, where to, where from, or a governed preposition: belongs to the verb."""
    predicate: Predicate | None = None
    manner: Word | None = None
    companion: Adjunct | None = None
    place: Adjunct | None = None
    occasion: Adjunct | None = None
    time: Time | None = None
    time_first: bool = False
    asks: Word | None = None
    """The question word of an adverbial: where, when, why."""


def agreement(nominal: Nominal) -> Agreement:
    """What a verb agrees with when this is its subject."""
    match nominal:
        case NounPhrase(plural=plural):
            return "p" if plural else "3"
        case Pronoun(forms=forms):
            return forms.agreement
        case Couple():
            return "p"
        case Relative(antecedent=antecedent):
            return "p" if antecedent.plural else "3"
        case _:
            return "3"


def reference(nominal: Nominal) -> PronounForms | None:
    """The pronoun that speaks of it again, or None where English and German would differ.

    A girl is `she` but `es` or `sie`, and a child is any of these, so they have none.
    """
    match nominal:
        case Pronoun(forms=forms):
            return forms
        case Name(forms=forms):
            return HE if forms.kind == "m" else SHE
        case Couple():
            return THEY
        case NounPhrase(plural=True):
            return THEY
        case NounPhrase(noun=noun):
            if "person" in noun.tags:
                return {"m": HE, "f": SHE, "n": None}[noun.gender]
            return {"m": IT_M, "f": IT_F, "n": IT_N}[noun.gender]
        case Relative(antecedent=antecedent):
            return reference(antecedent)
        case _:
            return None


def leads(nominal: Nominal | None) -> bool:
    """Whether it is a question's or relative clause's word, which stands first."""
    return isinstance(nominal, Relative | Interrogative) or (
        isinstance(nominal, NounPhrase) and nominal.determiner.english == "which"
    )


def is_definite(nominal: Nominal) -> bool:
    """Whether the hearer knows which is meant; indefinite objects stand later in German."""
    return not isinstance(nominal, NounPhrase) or bool(
        nominal.owner
        or nominal.determiner.declension == "der"
        or nominal.determiner.stem in ("dies", "mein", "sein", "ihr", "unser", "beid", "all")
    )
