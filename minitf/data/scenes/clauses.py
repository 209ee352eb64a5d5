"""Draws clauses: a frame's verb with a subject, objects, adverbials, tense and negation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from minitf.data.scenes.chance import Draft, Retry
from minitf.data.scenes.lexicon import (
    ADJECTIVES, BARE, CITIES, FRAMES, MODALS, SHE, THE, TIMES, Adjective, Frame, Modal, Noun, Preposition,
    Time, VERB, Word, nouns_with,
)  # fmt: skip
from minitf.data.scenes.nominals import (
    Role, at_place, describe, noun_phrase, person, subject,
)  # fmt: skip
from minitf.data.scenes.phrases import (
    Adjunct, Clause, Name, Nominal, NounPhrase, Predicate, Pronoun, Relative, Tense, agreement,
    is_definite, reference,
)  # fmt: skip
from minitf.data.scenes.tables import rows, spelled

_CITY = {
    "in-city": Preposition("in", "in", "dat"),
    "to-city": Preposition("to", "nach", "dat"),
    "from-city": Preposition("from", "aus", "dat"),
}
_WITH = Preposition("with", "mit", "dat")
_OCCASIONS = [
    (Preposition(spelled(row[0]), row[1], row[2]), nouns_with(row[3].split()))  # type: ignore[arg-type]
    for row in rows("occasions", 4)
]
_DEGREES = (Word("very", "sehr"), Word("too", "zu"), Word("quite", "ziemlich"),
            Word("really", "wirklich"))  # fmt: skip
_BE = VERB["be", "sein"]
PLAIN = tuple(frame for frame in FRAMES if frame.complement not in ("that", "whether", "infinitive"))
"""Frames that need no other clause."""
ANYBODY = nouns_with(("person",))


@dataclass(frozen=True)
class Wish:
    """What is wanted of a clause; None leaves it to chance."""

    tense: Tense | None = None
    modal: bool | None = None
    negated: bool | None = None
    timed: bool = True
    place: bool = True
    third_person: bool = False
    plain_nouns: bool = False
    """No relative clauses."""
    known: bool = False
    """A definite subject."""
    plain_subject: bool = False
    """No adjective that could contradict what another clause says of the subject."""


def action(draft: Draft, frame: Frame, wish: Wish = Wish(), of: Nominal | None = None) -> Clause:
    """Draws a clause for a frame.

    Args:
        draft: the sentence in the making.
        frame: the verb and what it is used with.
        wish: what is settled already.
        of: the subject, where it is settled.
    """
    flags = frame.flags
    negated = wish.negated if wish.negated is not None else draft.chance(0.1)
    if of is None:
        anybody = "person" in frame.subject_tags or "adult" in frame.subject_tags
        event = "event" in frame.subject_tags
        role: Role = "known" if negated or wish.known or event else "subject"
        of = subject(draft, frame.subjects, anybody, wish.third_person, role)
        if wish.plain_subject and isinstance(of, NounPhrase) and of.adjective:
            raise Retry
    c = Clause(of, frame.verb, negated=negated, to_dative="to" in flags, reflexive="sich" in flags)
    _set_tense(draft, c, frame, wish)
    if _sounds_past(c):
        raise Retry
    if wish.timed:
        _set_time(draft, c, frame)
    habit = c.tense == "present" and c.modal is None and "state" not in flags and not negated
    _set_objects(draft, c, frame, habit)
    _set_complement(draft, c, frame)
    _set_extras(draft, c, frame, wish)
    if not wish.plain_nouns and isinstance(of, NounPhrase) and draft.chance(0.05):
        _set_relative(draft, of, c)
    return c


def _set_tense(draft: Draft, c: Clause, frame: Frame, wish: Wish) -> None:
    flags = frame.flags
    state, hidden, once = "state" in flags, "hidden" in flags, "once" in flags
    modal = wish.modal
    if modal is None:
        modal = wish.tense in (None, "present") and draft.chance(0.16)
    if modal and not state and not hidden and is_person(c.subject):
        options = [each for each in MODALS if each.english_past or wish.tense != "past"]
        c.modal = draft.pick(options)
        c.tense = "past" if c.modal.english_past and draft.chance(0.35) else "present"
        if c.modal.singular == "gern":
            c.tense = "present"
            if c.negated or once or not (frame.places or "new" in flags or "shared" in flags):
                raise Retry
        return
    if wish.tense is not None:
        if wish.tense == "progressive" and (state or hidden or "instant" in flags):
            raise Retry
        c.tense = wish.tense
    elif state:
        c.tense = "present" if draft.chance(0.65) else "past"
    else:
        c.tense = draft.pick(_TENSES)
        if c.tense == "progressive" and (hidden or "instant" in flags):
            c.tense = "past"
    if c.tense == "present" and once and wish.tense is None:
        c.tense = "past"


def _sounds_past(c: Clause) -> bool:
    """Whether English does not tell present from past: they read, I put, we cut."""
    plain = c.tense == "present" and c.modal is None and not c.negated
    return plain and c.verb.english == c.verb.english_past and agreement(c.subject) != "3"


_TENSES: tuple[Tense, ...] = (
    *("present",) * 8, *("progressive",) * 5, *("past",) * 10, *("future",) * 4,
)  # type: ignore[assignment]  # fmt: skip


def is_person(phrase: Nominal) -> bool:
    match phrase:
        case NounPhrase(noun=noun):
            return "person" in noun.tags
        case Relative(antecedent=antecedent):
            return "person" in antecedent.noun.tags
        case _:
            return True


@cache
def _times(tense: str, negated: bool, modal: bool, slow: bool, once: bool) -> tuple[Time, ...]:
    if tense == "progressive":
        return ()
    wanted = "future" if modal and tense == "present" else tense
    return tuple(
        time
        for time in TIMES
        if wanted in time.tenses
        and not ((negated or modal or once) and "present" in time.tenses and time.scale != "day")
        and not ((negated or once) and time.english.startswith("every"))
        and not (slow and time.scale != "long")
        and not (not slow and time.scale == "long" and tense != "present")
    )


def _set_time(draft: Draft, c: Clause, frame: Frame) -> None:
    flags = frame.flags
    if "state" in flags:
        return
    modal = c.modal is not None
    if modal and c.modal and c.modal.singular == "gern":
        return
    likely = 0.65 if c.tense == "present" and not modal else 0.45
    if c.negated and c.tense == "present":
        return
    if not draft.chance(likely):
        return
    if draft.chance(0.08) and c.tense != "progressive" and "slow" not in flags:
        preposition, nouns = draft.pick(_OCCASIONS)
        if preposition.english in ("because of", "despite") and not _is_outdoors(frame):
            return
        phrase = NounPhrase(THE, draft.noun(nouns))
        if draft.chance(0.3):
            describe(draft, phrase)
        c.occasion = Adjunct(preposition, phrase)
        c.time_first = draft.chance(0.4)
        return
    times = _times(c.tense, c.negated, modal, "slow" in flags, "once" in flags)
    if times:
        c.time = draft.pick(times)
        c.time_first = c.time.scale != "often" and draft.chance(0.4)


def _set_objects(draft: Draft, c: Clause, frame: Frame, habit: bool) -> None:
    flags = frame.flags
    role: Role = "object"
    if c.negated:
        role = "negated"
    elif "new" in flags and (habit or "state" in flags):
        role = "new"
    elif "known" in flags:
        role = "known"
    elif "liked" in flags:
        role = "liked"
    known: Role = "known"
    if frame.datives:
        c.dative = person(draft, frame.datives, c.subject, known)
    if frame.accusatives:
        noun = draft.noun(frame.accusatives)
        draft.combine(frame.verb, noun)
        if noun.has(("person",)) and not frame.datives and len(frame.accusatives) > 30:
            draft.used.discard(noun)
            draft.combinations.pop()
            c.accusative = person(draft, _people_of(frame), c.subject, role)
            if isinstance(c.accusative, NounPhrase):
                draft.combine(frame.verb, c.accusative.noun)
        else:
            owner = reference(c.subject)
            c.accusative = noun_phrase(draft, noun, role, owner)
        if isinstance(c.dative, Pronoun) and c.dative.forms is SHE and _is_bare(c.accusative):
            raise Retry  # 'reads her letters' would be ambiguous
    if frame.governed is not None:
        c.complement = Adjunct(
            frame.governed, person(draft, frame.governed_nouns, c.subject, known)
        )


def _is_bare(phrase: Nominal) -> bool:
    return isinstance(phrase, NounPhrase) and phrase.determiner is BARE


@cache
def _is_outdoors(frame: Frame) -> bool:
    """Whether weather and noise may keep one from it."""
    places = (*frame.places, *frame.targets)
    return any(not place.kinds.isdisjoint(("outdoors", "travel")) for place in places)


@cache
def _people_of(frame: Frame) -> tuple[Noun, ...]:
    return tuple(noun for noun in frame.accusatives if "person" in noun.tags)


def _set_complement(draft: Draft, c: Clause, frame: Frame) -> None:
    if frame.complement in _CITY:
        c.complement = Adjunct(_CITY[frame.complement], Name(draft.name(CITIES)))
    elif frame.targets:
        place = draft.pick(frame.targets)
        preposition = {"at": place.at, "to": place.to, "out": place.out,
                       "from": place.source}[frame.complement]  # fmt: skip
        c.complement = at_place(draft, place, preposition, c.subject)


def _set_extras(draft: Draft, c: Clause, frame: Frame, wish: Wish) -> None:
    """Adds manner, company or place: at most two adverbials with the time, none when negated."""
    progressive_dative = c.tense == "progressive" and c.dative is not None
    if frame.manners and not c.negated and not progressive_dative and draft.chance(0.22):
        c.manner = draft.pick(frame.manners)
    elif "shared" in frame.flags and draft.chance(0.18):
        c.companion = Adjunct(_WITH, person(draft, ANYBODY, c.subject, "known"))
    crowded = (c.time is not None or c.occasion is not None) and (c.manner or c.companion)
    if frame.places and wish.place and not crowded and draft.chance(0.38):
        place = draft.pick(frame.places)
        c.place = at_place(draft, place, place.at, c.subject)


def _set_relative(draft: Draft, phrase: NounPhrase, main: Clause) -> None:
    """Adds a relative clause of which the noun is the subject."""
    if phrase.determiner is not THE or phrase.owner or phrase.relative:
        return
    frames = _frames_for(phrase.noun)
    frame = draft.pick(frames)
    tense: Tense = "past" if draft.chance(0.5) else "progressive"
    if "state" in frame.flags:
        tense = "present"
    if frame.verb is main.verb:
        raise Retry
    wish = Wish(tense, timed=False, modal=False, negated=False, plain_nouns=True)
    phrase.relative = action(draft, frame, wish, Relative(phrase))


@cache
def _frames_for(noun: Noun) -> tuple[Frame, ...]:
    return tuple(frame for frame in PLAIN if noun in frame.subjects)


def description(draft: Draft, wish: Wish = Wish()) -> Clause:
    """Draws a clause that says what somebody or something is like."""
    past = draft.chance(0.35) if wish.tense is None else wish.tense == "past"
    tense: Tense = "past" if past else "present"
    negated = wish.negated if wish.negated is not None else draft.chance(0.1)
    style = draft.pick(("adjective", "adjective", "comparison"))
    if style == "comparison":
        adjective = draft.pick(_COMPARABLE)
        kind = draft.pick(sorted(adjective.nouns))
        nouns = tuple(noun for noun in nouns_of(adjective) if kind in noun.tags)
        first = _described(draft, nouns)
        second = _described(draft, nouns)
        predicate = Predicate(adjective, than=second)
        _note(draft, adjective, first, second)
        return Clause(first, _BE, tense, negated=negated, predicate=predicate)
    adjective = draft.pick(ADJECTIVES)
    first = _described(draft, nouns_of(adjective))
    gradable = bool(adjective.english_comparative) and not negated
    degree = draft.pick(_DEGREES) if gradable and draft.chance(0.4) else None
    _note(draft, adjective, first)
    return Clause(first, _BE, tense, negated=negated, predicate=Predicate(adjective, degree))


_COMPARABLE = tuple(adjective for adjective in ADJECTIVES if adjective.english_comparative)


@cache
def nouns_of(adjective: Adjective) -> tuple[Noun, ...]:
    """Nouns that can have the quality."""
    return tuple(noun for noun in nouns_with(adjective.nouns) if adjective.suits(noun))


def _described(draft: Draft, nouns: Sequence[Noun]) -> Nominal:
    return noun_phrase(draft, draft.noun(nouns), "known", described=0)


def _note(draft: Draft, adjective: Adjective, *phrases: Nominal) -> None:
    for phrase in phrases:
        if isinstance(phrase, NounPhrase):
            draft.combine(adjective, phrase.noun)
