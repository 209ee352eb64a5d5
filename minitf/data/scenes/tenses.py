"""Draws tense, modal verb and time of a clause, so that they go together."""

from __future__ import annotations

from functools import cache

from minitf.data.scenes.chance import Again, Draft
from minitf.data.scenes.entries import Frame, Preposition, Time
from minitf.data.scenes.lexicon import MODALS, THE, TIMES, nouns_with
from minitf.data.scenes.nominals import describe
from minitf.data.scenes.phrases import (
    Adjunct,
    Clause,
    Nominal,
    NounPhrase,
    Relative,
    Tense,
    agreement,
)
from minitf.data.scenes.tables import rows, spelled

_WEIGHTS: dict[Tense, int] = {"present": 8, "progressive": 5, "past": 10, "future": 4}
_TENSES = tuple(tense for tense, weight in _WEIGHTS.items() for _ in range(weight))
_OCCASIONS = tuple(
    (Preposition(spelled(english), german, case), nouns_with((tag,)))  # type: ignore[arg-type]
    for english, german, case, tag in rows("occasions", 4)
)
_CAUSES = ("because of", "despite")


def set_tense(
    draft: Draft, c: Clause, frame: Frame, tense: Tense | None, modal: bool | None
) -> None:
    """Draws tense and modal verb, as far as they are not settled.

    Raises:
        Again: if the verb is not used in the tense that is wanted.
    """
    if _may_be_modal(c, frame) and (
        modal or (modal is None and tense in (None, "present") and draft.chance(0.16))
    ):
        c.modal = draft.pick(MODALS)
        c.tense = "past" if c.modal.english_past and draft.chance(0.35) else "present"
        if c.modal.is_adverb:
            c.tense = "present"
            if c.negated or not _can_be_liked(frame):
                raise Again
        return
    progressive = frame.flags.isdisjoint(("state", "hidden", "instant"))
    if tense is not None:
        if tense == "progressive" and not progressive:
            raise Again
        c.tense = tense
    elif "state" in frame.flags:
        c.tense = "present" if draft.chance(0.65) else "past"
    else:
        c.tense = draft.pick(_TENSES)
        if (c.tense == "progressive" and not progressive) or (
            c.tense == "present" and "once" in frame.flags
        ):
            c.tense = "past"
    if _sounds_past(c):
        raise Again


def _may_be_modal(c: Clause, frame: Frame) -> bool:
    return frame.flags.isdisjoint(("state", "hidden")) and is_person(c.subject)


def _can_be_liked(frame: Frame) -> bool:
    """Whether one can like to do it: not what is done once, or in passing."""
    return "once" not in frame.flags and bool(
        frame.places or not frame.flags.isdisjoint(("new", "shared"))
    )


def is_person(phrase: Nominal) -> bool:
    """Whether it speaks of a person: one who wants, can and must."""
    match phrase:
        case NounPhrase(noun=noun) | Relative(antecedent=NounPhrase(noun=noun)):
            return "person" in noun.tags
        case _:
            return True


def _sounds_past(c: Clause) -> bool:
    """Whether English does not tell present from past: they read, I put, we cut."""
    plain = c.tense == "present" and c.modal is None and not c.negated
    return plain and c.verb.english == c.verb.english_past and agreement(c.subject) != "3"


def set_time(draft: Draft, c: Clause, frame: Frame) -> None:
    """Draws when, or on which occasion, it happens, if at all."""
    modal = c.modal is not None
    habit = c.tense == "present" and not modal
    if "state" in frame.flags or (c.modal and c.modal.is_adverb) or (c.negated and habit):
        return
    if c.tense == "progressive" or not draft.chance(0.65 if habit else 0.45):
        return
    if "slow" not in frame.flags and draft.chance(0.08):
        _set_occasion(draft, c, frame)
        return
    times = _times(c.tense, modal, c.negated, frame)
    if times:
        c.time = draft.pick(times)
        c.time_first = c.time.scale != "often" and draft.chance(0.4)


@cache
def _times(tense: Tense, modal: bool, negated: bool, frame: Frame) -> tuple[Time, ...]:
    """Times that go with the tense; a modal verb in the present speaks of the future."""
    habit = tense == "present" and not modal
    tense = "future" if tense == "present" and modal else tense
    slow, once = "slow" in frame.flags, "once" in frame.flags

    def fits(time: Time) -> bool:
        if tense not in time.tenses:
            return False
        if slow or time.scale == "long":
            return slow and time.scale in ("long", "season")
        if time.scale == "season":
            return habit and _is_outdoors(frame)
        repeated = time.scale == "often" or time.english.startswith("every")
        return not (repeated and (modal or negated or once))

    return tuple(filter(fits, TIMES))


def _set_occasion(draft: Draft, c: Clause, frame: Frame) -> None:
    preposition, nouns = draft.pick(_OCCASIONS)
    if preposition.english in _CAUSES and not _is_outdoors(frame):
        return
    phrase = NounPhrase(THE, draft.noun(nouns))
    if draft.chance(0.3):
        describe(draft, phrase)
    c.occasion = Adjunct(preposition, phrase)
    c.time_first = draft.chance(0.4)


@cache
def _is_outdoors(frame: Frame) -> bool:
    """Whether rain, heat and noise may keep one from it."""
    places = (*frame.places, *frame.targets)
    return any(not place.kinds.isdisjoint(("outdoors", "travel")) for place in places)
