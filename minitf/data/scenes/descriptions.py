"""Draws clauses that say what somebody or something is like."""

from __future__ import annotations

from functools import cache

from minitf.data.scenes.chance import Again, Draft
from minitf.data.scenes.entries import Adjective, Noun, Word
from minitf.data.scenes.lexicon import ADJECTIVES, NOUNS, PEOPLE, VERB, A, nouns_with
from minitf.data.scenes.nominals import describe, noun_phrase
from minitf.data.scenes.phrases import Clause, Name, Nominal, NounPhrase, Predicate, Tense

_BE = VERB["be", "sein"]
_DEGREES = (
    Word("very", "sehr"),
    Word("too", "zu"),
    Word("quite", "ziemlich"),
    Word("really", "wirklich"),
)
_PASSING = ("tired", "thirsty", "hungry", "happy", "sad", "new")
"""Qualities that do not make somebody a kind of doctor."""
_JOBS = nouns_with(("job",))
_KIN = tuple(noun for noun in nouns_with(("kin",)) if "child" not in noun.tags)
_COMPARABLE = tuple(adjective for adjective in ADJECTIVES if adjective.english_comparative)


def description(draft: Draft, negated: bool | None = None) -> Clause:
    """The table is very old. The table is older than the chair. Anna is a good nurse."""
    tense: Tense = "past" if draft.chance(0.35) else "present"
    if negated is None:
        negated = draft.chance(0.1)
    subject: Nominal
    style = draft.pick(("quality", "quality", "quality", "comparison", "comparison", "job"))
    if style == "comparison":
        subject, predicate = _comparison(draft)
    elif style == "job":
        subject, predicate = _job(draft)
    else:
        subject, predicate = _quality(draft, negated)
    return Clause(subject, _BE, tense, negated=negated, predicate=predicate)


def _quality(draft: Draft, negated: bool) -> tuple[NounPhrase, Predicate]:
    adjective = draft.pick(ADJECTIVES)
    gradable = bool(adjective.english_comparative) and not negated
    degree = draft.pick(_DEGREES) if gradable and draft.chance(0.4) else None
    return _described(draft, adjective, nouns_of(adjective)), Predicate(adjective, degree)


def _comparison(draft: Draft) -> tuple[NounPhrase, Predicate]:
    """Compares two nouns of one kind: a table with a chair, not with a river."""
    adjective = draft.pick(_COMPARABLE)
    kind = draft.pick(sorted(adjective.nouns))
    nouns = tuple(noun for noun in nouns_of(adjective) if kind in noun.tags)
    first, second = (_described(draft, adjective, nouns) for _ in range(2))
    return first, Predicate(adjective, than=second)


def _job(draft: Draft) -> tuple[Nominal, Predicate]:
    """Anna is a good nurse. English does not tell a Lehrer from a Lehrerin: genders agree."""
    if draft.chance(0.5):
        name = draft.name(PEOPLE)
        subject: Nominal = Name(name)
        gender = name.kind
    else:
        noun = draft.noun(_KIN)
        subject = noun_phrase(draft, noun, "known", described=0)
        gender = noun.gender
        if subject.plural:
            raise Again
    job = draft.noun(tuple(noun for noun in _JOBS if noun.gender == gender))
    kind = NounPhrase(A, job)
    describe(draft, kind)
    if kind.adjective and kind.adjective.english in _PASSING:
        raise Again
    return subject, Predicate(kind=kind)


def _described(draft: Draft, adjective: Adjective, nouns: tuple[Noun, ...]) -> NounPhrase:
    phrase = noun_phrase(draft, draft.noun(nouns), "known", described=0)
    draft.combine(adjective, phrase.noun)
    return phrase


@cache
def nouns_of(adjective: Adjective) -> tuple[Noun, ...]:
    """Nouns that can have the quality."""
    return tuple(noun for noun in NOUNS if adjective.suits(noun))
