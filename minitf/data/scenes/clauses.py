"""Draws clauses: a frame's verb with a subject, objects, adverbials and relative clauses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from minitf.data.scenes.activities import PLAIN
from minitf.data.scenes.chance import Again, Draft
from minitf.data.scenes.entries import Frame, Noun, Preposition
from minitf.data.scenes.lexicon import BARE, CITIES, POSSESSIVE, SHE, THE, nouns_with
from minitf.data.scenes.nominals import Role, at_place, means_anybody, noun_phrase, person, subject
from minitf.data.scenes.phrases import (
    Adjunct,
    Clause,
    Name,
    Nominal,
    NounPhrase,
    Pronoun,
    Relative,
    Tense,
    reference,
)
from minitf.data.scenes.tenses import set_tense, set_time

ANYBODY = nouns_with(("person",))
_CITY = {
    "in-city": Preposition("in", "in", "dat"),
    "to-city": Preposition("to", "nach", "dat"),
    "from-city": Preposition("from", "aus", "dat"),
}
_WITH = Preposition("with", "mit", "dat")


@dataclass(frozen=True)
class Wish:
    """What is wanted of a clause; None leaves it to chance."""

    tense: Tense | None = None
    modal: bool | None = None
    negated: bool | None = None
    timed: bool = True
    place: bool = True
    relative: bool = True
    """Whether the subject may have a relative clause."""
    third_person: bool = False
    known: bool = False
    """A definite subject."""
    plain_subject: bool = False
    """No adjective that could contradict what another clause says of the subject."""


ANYTHING = Wish()


def action(draft: Draft, frame: Frame, wish: Wish = ANYTHING, of: Nominal | None = None) -> Clause:
    """Draws a clause for a frame.

    Args:
        draft: the sentence in the making.
        frame: the verb and what it is used with.
        wish: what is settled already.
        of: the subject, where it is settled.

    Raises:
        Again: if the wish cannot be met with what was drawn.
    """
    flags = frame.flags
    negated = draft.chance(0.1) if wish.negated is None else wish.negated
    if of is None:
        of = _subject(draft, frame, wish, negated)
    c = Clause(of, frame.verb, negated=negated, to_dative="to" in flags, reflexive="sich" in flags)
    set_tense(draft, c, frame, wish.tense, wish.modal)
    if wish.timed:
        set_time(draft, c, frame)
    _set_objects(draft, c, frame)
    _set_complement(draft, c, frame)
    _set_adverbials(draft, c, frame, wish.place)
    if wish.relative and isinstance(of, NounPhrase) and draft.chance(0.05):
        _set_relative(draft, of, c)
    return c


def _subject(draft: Draft, frame: Frame, wish: Wish, negated: bool) -> Nominal:
    anybody = "person" in frame.subject_tags or "adult" in frame.subject_tags
    known = negated or wish.known or "event" in frame.subject_tags
    role: Role = "known" if known else "subject"
    drawn = subject(draft, frame.subjects, anybody, wish.third_person, role)
    if wish.plain_subject and isinstance(drawn, NounPhrase) and drawn.adjective:
        raise Again
    return drawn


def _set_objects(draft: Draft, c: Clause, frame: Frame) -> None:
    if frame.datives:
        c.dative = person(draft, frame.datives, c.subject, "known")
    if frame.accusatives:
        c.accusative = _accusative(draft, c, frame)
    if isinstance(c.dative, Pronoun) and c.dative.forms is SHE and _is_bare(c.accusative):
        raise Again  # 'he reads her letters' could be to her, or hers
    if frame.governed is not None:
        of = person(draft, frame.governed_nouns, c.subject, "known")
        c.complement = Adjunct(frame.governed, of)


def _accusative(draft: Draft, c: Clause, frame: Frame) -> Nominal:
    role = _role_of_object(c, frame)
    noun = draft.noun(frame.accusatives)
    if "person" in noun.tags and means_anybody(frame.accusatives):
        draft.used.discard(noun)
        drawn = person(draft, _people_of(frame), c.subject, role)
    else:
        drawn = noun_phrase(draft, noun, role, reference(c.subject))
    if isinstance(drawn, NounPhrase):
        if "own" in frame.flags and _is_anothers(drawn, c.subject):
            raise Again
        draft.combine(frame.verb, drawn.noun)
    return drawn


def _is_anothers(phrase: NounPhrase, of: Nominal) -> bool:
    """Whether it belongs to somebody else: Anna puts on my hat."""
    forms = reference(of)
    possessive = phrase.determiner in POSSESSIVE.values()
    own = forms is not None and phrase.determiner.english == forms.english_possessive
    return phrase.owner is not None or (possessive and not own)


def _role_of_object(c: Clause, frame: Frame) -> Role:
    if c.negated:
        return "negated"
    state = "state" in frame.flags
    habit = c.tense == "present" and c.modal is None and not state
    if "new" in frame.flags and (habit or state):
        return "new"
    if "known" in frame.flags:
        return "known"
    return "liked" if "liked" in frame.flags else "object"


def _is_bare(phrase: Nominal | None) -> bool:
    return isinstance(phrase, NounPhrase) and phrase.determiner is BARE


@cache
def _people_of(frame: Frame) -> tuple[Noun, ...]:
    return tuple(noun for noun in frame.accusatives if "person" in noun.tags)


def _set_complement(draft: Draft, c: Clause, frame: Frame) -> None:
    if frame.complement in _CITY:
        c.complement = Adjunct(_CITY[frame.complement], Name(draft.name(CITIES)))
    elif frame.targets:
        place = draft.pick(frame.targets)
        prepositions = {"at": place.at, "to": place.to, "out": place.out, "from": place.source}
        c.complement = at_place(draft, place, prepositions[frame.complement], c.subject)


def _set_adverbials(draft: Draft, c: Clause, frame: Frame, place: bool) -> None:
    """Adds manner, company or place: at most two, time counted."""
    manner = not c.negated and not (c.tense == "progressive" and c.dative is not None)
    if manner and frame.manners and draft.chance(0.22):
        c.manner = draft.pick(frame.manners)
    elif "shared" in frame.flags and draft.chance(0.18):
        c.companion = Adjunct(_WITH, person(draft, ANYBODY, c.subject, "known"))
    crowded = (c.time or c.occasion) and (c.manner or c.companion)
    if place and frame.places and not crowded and draft.chance(0.38):
        where = draft.pick(frame.places)
        c.place = at_place(draft, where, where.at, c.subject)


def _set_relative(draft: Draft, phrase: NounPhrase, main: Clause) -> None:
    """Adds a relative clause of which the noun is the subject: the man who is sleeping."""
    if phrase.determiner is not THE or phrase.owner:
        return
    frame = draft.pick(_frames_for(phrase.noun))
    if frame.verb is main.verb:
        raise Again
    tense: Tense = "past" if draft.chance(0.5) else "progressive"
    if "state" in frame.flags:
        tense = "present"
    wish = Wish(tense, timed=False, modal=False, negated=False, relative=False)
    phrase.relative = action(draft, frame, wish, Relative(phrase))


@cache
def _frames_for(noun: Noun) -> tuple[Frame, ...]:
    return tuple(frame for frame in PLAIN if noun in frame.subjects)
