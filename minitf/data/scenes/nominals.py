"""Draws nominals: who and what a sentence speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Literal

from minitf.data.scenes.chance import Again, Draft
from minitf.data.scenes.entries import Adjective, Determiner, Noun, Place, Preposition, PronounForms
from minitf.data.scenes.lexicon import (
    ADJECTIVES,
    BARE,
    DETERMINER,
    HE,
    NOUNS,
    NUMERALS,
    PEOPLE,
    POSSESSIVE,
    SHE,
    THE,
    THEY,
    WE,
    I,
    nouns_with,
)
from minitf.data.scenes.phrases import (
    Adjunct,
    Couple,
    Name,
    Nominal,
    NounPhrase,
    Pronoun,
    reference,
)
from minitf.data.scenes.tables import rows

Role = Literal["subject", "object", "new", "negated", "known", "place", "whole", "liked"]
Owner = PronounForms | Literal["anybody"] | None
"""Whose a thing probably is: the subject's, anybody's, or the speaker's alone (None)."""
_ROLES: tuple[Role, ...] = (
    "subject",
    "object",
    "new",
    "negated",
    "known",
    "place",
    "whole",
    "liked",
)
_SHAPES = [(row[0], row[1], dict(zip(_ROLES, map(int, row[2:]), strict=True)))
           for row in rows("shapes", 10)]  # fmt: skip
_OWNED = frozenset(row[0] for row in rows("owned", 1))
_OWNERS = nouns_with(("adult", "elder"))
_BUILDINGS = nouns_with(("building", "home"))
_THIRD = (HE, SHE, THEY)

ADJECTIVES_OF: dict[Noun, tuple[Adjective, ...]] = {
    noun: tuple(adjective for adjective in ADJECTIVES if adjective.suits(noun)) for noun in NOUNS
}


@cache
def _shapes(noun: Noun, role: Role) -> tuple[tuple[str, str], ...]:
    """The shapes that a noun can take in a role, each as often as its weight."""
    return tuple(
        (determiner, number)
        for determiner, number, weights in _SHAPES
        for _ in range(weights[role])
        if _can_take(noun, determiner, number)
    )


def _can_take(noun: Noun, determiner: str, number: str) -> bool:
    tags = noun.tags
    if (number == "mass") != ("mass" in tags):
        return False
    if "one" in tags and (number == "p" or determiner in ("a", "every")):
        return False
    if "pair" in tags and number == "s":
        return False
    if determiner in ("possessive", "owner"):
        return not tags.isdisjoint(_OWNED)
    if "kin" in tags:
        return False
    if determiner == "bare" and number == "p":
        return "person" not in tags
    if determiner == "every":
        return "person" in tags
    if determiner == "a" and number == "mass":
        return "cup" in tags
    return True


def noun_phrase(
    draft: Draft,
    noun: Noun,
    role: Role,
    owner: Owner = "anybody",
    described: float = 0.35,
) -> NounPhrase:
    """Draws determiner, number, adjective and owner for a noun.

    Args:
        draft: the sentence in the making.
        noun: what is spoken of.
        role: what it does in the clause; decides which shapes are likely.
        owner: whose it probably is, by the pronoun (Anna: her).
        described: the probability of an adjective.
    """
    word, number = draft.pick(_shapes(noun, role))
    plural = number == "p"
    phrase = NounPhrase(BARE, noun, plural)
    match word:
        case "possessive":
            phrase.determiner = _possessive(draft, owner)
        case "owner":
            phrase.determiner = THE
            phrase.owner = _owner(draft)
        case "numeral":
            phrase.numeral = draft.pick(NUMERALS if role == "new" else NUMERALS[:4])
        case "the+numeral":
            phrase.determiner = THE
            phrase.numeral = draft.pick(NUMERALS[1:6])
        case "bare":
            pass
        case _:
            phrase.determiner = DETERMINER[word]
    if "part" in noun.tags and phrase.determiner is THE and not plural and draft.chance(0.4):
        phrase.owner = noun_phrase(draft, draft.noun(_BUILDINGS), "whole")
        phrase.part = True
    if draft.chance(described):
        describe(draft, phrase)
    return phrase


def describe(draft: Draft, phrase: NounPhrase) -> None:
    """Gives the noun an adjective, if there is one that makes sense."""
    adjectives = ADJECTIVES_OF[phrase.noun]
    if adjectives:
        phrase.adjective = draft.pick(adjectives)
        draft.combine(phrase.adjective, phrase.noun)


def _possessive(draft: Draft, owner: Owner) -> Determiner:
    if owner is None or (owner != "anybody" and owner.english == "it"):
        return POSSESSIVE[draft.pick(("my", "our"))]
    if owner == "anybody" or draft.chance(0.2):
        return POSSESSIVE[draft.pick(tuple(POSSESSIVE))]
    return POSSESSIVE[owner.english_possessive]


def _owner(draft: Draft) -> Nominal:
    if draft.chance(0.6):
        return Name(draft.name(PEOPLE))
    noun = draft.noun(_OWNERS)
    if "kin" in noun.tags:
        return NounPhrase(POSSESSIVE[draft.pick(tuple(POSSESSIVE))], noun)
    return NounPhrase(THE, noun)


def subject(draft: Draft, nouns: Sequence[Noun], anybody: bool, third_person: bool = False,
            role: Role = "subject") -> Nominal:  # fmt: skip
    """Draws a subject.

    Args:
        draft: the sentence in the making.
        nouns: nouns that make sense.
        anybody: whether any person does, so that it may be a name or a pronoun.
        third_person: leaves out I and we.
        role: `known` for one that is definite.
    """
    if anybody:
        if draft.chance(0.18):
            return Pronoun(draft.pick(_THIRD if third_person else (*_THIRD, HE, SHE, WE, I)))
        if draft.chance(0.26):
            return Name(draft.name(PEOPLE))
        if draft.chance(0.06):
            first = Name(draft.name(PEOPLE))
            if draft.chance(0.5):
                return Couple(first, Name(draft.name(PEOPLE)))
            second = noun_phrase(draft, draft.noun(nouns), "known", reference(first), described=0)
            return Couple(first, second) if not second.plural else second
    return noun_phrase(draft, draft.noun(nouns), role)


def person(draft: Draft, nouns: tuple[Noun, ...], of: Nominal, role: Role) -> Nominal:
    """Draws a person or animal as an object, other than the clause's subject `of`."""
    anybody = means_anybody(nouns)
    if anybody and draft.chance(0.16):
        return Pronoun(_other_pronoun(draft, of))
    if anybody and draft.chance(0.22):
        return Name(draft.name(PEOPLE))
    return noun_phrase(draft, draft.noun(nouns), role, reference(of))


@cache
def means_anybody(nouns: tuple[Noun, ...]) -> bool:
    """Whether these are all sorts of people, so that it may be a name or a pronoun as well."""
    return sum("person" in noun.tags for noun in nouns) > 30


def _other_pronoun(draft: Draft, subject: Nominal) -> PronounForms:
    """A pronoun that cannot mean the subject (I saw me, he saw him)."""
    forms = draft.pick((HE, SHE, THEY, I, WE))
    if isinstance(subject, Pronoun):
        first = (I, WE)
        if forms is subject.forms or (forms in first and subject.forms in first):
            raise Again
    return forms


def at_place(draft: Draft, place: Place, preposition: Preposition, of: Nominal) -> Adjunct:
    """A place with its preposition: in the garden, under an old tree."""
    if place.noun in draft.used:
        raise Again
    draft.used.add(place.noun)
    phrase = noun_phrase(draft, place.noun, "place", reference(of), described=0.2)
    return Adjunct(preposition, phrase)
