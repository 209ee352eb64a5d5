"""Draws reasons and conditions that make sense: eating because of hunger, not of the wallpaper."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from minitf.data.scenes.activities import PLAIN, PLANNED, key
from minitf.data.scenes.chance import Again, Draft
from minitf.data.scenes.clauses import Wish, action
from minitf.data.scenes.descriptions import nouns_of
from minitf.data.scenes.entries import Adjective, Frame, Verb, Word
from minitf.data.scenes.lexicon import ADJECTIVES, IT_N, VERB
from minitf.data.scenes.phrases import (
    Clause,
    Nominal,
    NounPhrase,
    Predicate,
    Pronoun,
    Tense,
    reference,
)
from minitf.data.scenes.tables import rows, spelled, words
from minitf.data.scenes.tenses import is_person

Pair = tuple[Clause, Clause]
_MAIN_TENSES: tuple[Tense, ...] = ("present", "progressive", "past", "past", "future")
_WEATHER = ("rain", "snow")
_OF_ANIMALS = ("tired", "hungry")
"""What animals are, too."""


@dataclass(frozen=True, eq=False, slots=True)
class Reason:
    """A row of tables/reasons.txt: a main clause and the subordinate clause that goes with it."""

    conjunction: str
    main: str
    frames: tuple[Frame, ...]
    of: str
    verb: Verb
    complement: Word
    qualities: tuple[Adjective, ...]

    @property
    def speaks_of_object(self) -> bool:
        """Whether it speaks of the main clause's object, so that it cannot come first."""
        return self.of == "object" or self.complement.english == "pronoun"


def _reason(row: list[str]) -> Reason:
    conjunction, main, verbs, of, english, german, complement, in_german = row
    frames = PLANNED if verbs == "*" else tuple(f for f in PLAIN if key(f.verb) in words(verbs))
    qualities = words(in_german) if complement == "quality" else ()
    return Reason(
        conjunction, main, frames, of, VERB[english, german],
        Word(spelled(complement), spelled(in_german)),
        tuple(adjective for adjective in ADJECTIVES if adjective.english in qualities),
    )  # fmt: skip


REASONS = tuple(map(_reason, rows("reasons", 8)))


def because(draft: Draft) -> Pair:
    """Anna is eating because she is hungry."""
    return _reasoned(draft, "because", minor_first=False)


def because_first(draft: Draft) -> Pair:
    """Because Anna is hungry, she is eating."""
    return _reasoned(draft, "because", minor_first=True)


def although(draft: Draft) -> Pair:
    """Anna is dancing although she is tired."""
    return _reasoned(draft, "although", minor_first=False)


def although_first(draft: Draft) -> Pair:
    """Although Anna is tired, she is dancing."""
    return _reasoned(draft, "although", minor_first=True)


def if_first(draft: Draft) -> Pair:
    """If Anna has time, she will help her mother."""
    return _reasoned(draft, "if", minor_first=True)


@cache
def _reasons(conjunction: str, minor_first: bool) -> tuple[Reason, ...]:
    return tuple(
        reason
        for reason in REASONS
        if reason.conjunction == conjunction and not (minor_first and reason.speaks_of_object)
    )


def _reasoned(draft: Draft, conjunction: str, minor_first: bool) -> Pair:
    reason = draft.pick(_reasons(conjunction, minor_first))
    main = _main_clause(draft, reason)
    minor = Clause(main.subject, reason.verb, "past" if main.tense == "past" else "present")
    match reason.of:
        case "it":
            minor.subject = Pronoun(IT_N)
            if reason.verb.english != "be" and minor.tense == "present" and conjunction != "if":
                minor.tense = "progressive"
        case "object":
            minor.subject = pronoun_for(_thing(main))
        case _ if minor_first:
            main.subject = pronoun_for(main.subject)
        case _:
            minor.subject = pronoun_for(main.subject)
    _set_complement(draft, reason, main, minor)
    return main, minor


def _main_clause(draft: Draft, reason: Reason) -> Clause:
    tense: Tense = "future" if reason.main == "future" else draft.pick(_MAIN_TENSES)
    wish = Wish(
        tense, modal=False, negated=reason.main == "negated",
        timed=False, relative=False, plain_subject=True,
    )  # fmt: skip
    main = action(draft, draft.pick(reason.frames), wish)
    main.manner = None
    if reason.verb.english in _WEATHER and reason.conjunction != "although" and _is_outdoors(main):
        raise Again
    if not (is_person(main.subject) or reason.complement.english in _OF_ANIMALS):
        raise Again
    return main


def _is_outdoors(c: Clause) -> bool:
    """Whether it happens where rain would be a reason against it."""
    where = [c.place, c.complement]
    nominals = [adjunct.nominal for adjunct in where if adjunct is not None]
    return any(isinstance(phrase, NounPhrase) and "site" in phrase.noun.tags for phrase in nominals)


def _set_complement(draft: Draft, reason: Reason, main: Clause, minor: Clause) -> None:
    if reason.qualities:
        thing = _thing(main)
        quality = draft.pick(reason.qualities)
        if thing.noun not in nouns_of(quality):
            raise Again
        draft.combine(quality, thing.noun)
        minor.predicate = Predicate(quality)
    elif reason.complement.english == "pronoun":
        target = main.accusative or main.dative
        if target is None or isinstance(target, Pronoun):
            raise Again
        pronoun = pronoun_for(target)
        if pronoun.forms.accusative == pronoun_for(minor.subject).forms.nominative:
            raise Again  # 'weil sie sie mag' is right, but who likes whom?
        minor.accusative = pronoun
    elif reason.complement.english:
        minor.predicate = Predicate(words=reason.complement)


def _thing(c: Clause) -> NounPhrase:
    """The accusative object, if it is a noun without adjective, which could contradict."""
    phrase = c.accusative
    if not isinstance(phrase, NounPhrase) or phrase.adjective is not None:
        raise Again
    return phrase


def pronoun_for(of: Nominal) -> Pronoun:
    """The pronoun that speaks of it once more.

    Raises:
        Again: if there is none that is right in both languages.
    """
    forms = reference(of)
    if forms is None:
        raise Again
    return Pronoun(forms)
