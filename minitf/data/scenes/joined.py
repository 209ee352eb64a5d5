"""Draws two clauses that make one sentence."""

from __future__ import annotations

from dataclasses import replace

from minitf.data.scenes.activities import (
    ACTIVITIES,
    DEEDS,
    LASTING,
    PLAIN,
    PLANNED,
    key,
    with_clause,
)
from minitf.data.scenes.chance import Again, Draft
from minitf.data.scenes.clauses import ANYBODY, Wish, action
from minitf.data.scenes.descriptions import description
from minitf.data.scenes.entries import Frame, Place
from minitf.data.scenes.nominals import at_place, subject
from minitf.data.scenes.phrases import Clause, Couple, Pronoun, Tense
from minitf.data.scenes.questions import open_question
from minitf.data.scenes.reasons import Pair, pronoun_for
from minitf.data.scenes.tables import rows, words

_BRIEF = Wish(modal=False, negated=False, timed=False, relative=False)
"""Two clauses make a long sentence, so each says little."""


# Two actions


def meanwhile(draft: Draft) -> Pair:
    """Anna read a book while the children slept."""
    return _two(draft, draft.pick(("present", "past")))


def both_actions(draft: Draft) -> Pair:
    """Anna is reading a book and the children are sleeping."""
    a, b = _two(draft, draft.pick(("past", "progressive", "future")))
    if isinstance(b.subject, Couple):
        raise Again  # '... and Paul and Emma are sleeping' misleads
    return a, b


def _two(draft: Draft, tense: Tense) -> Pair:
    wish = replace(_BRIEF, tense=tense)
    a, b = (action(draft, draft.pick(LASTING), wish) for _ in range(2))
    if isinstance(a.subject, Pronoun) and isinstance(b.subject, Pronoun):
        raise Again
    return a, b


def contrast(draft: Draft) -> Pair:
    """Anna drank the milk, but Peter did not drink the juice."""
    frame = draft.pick(DEEDS)
    tense: Tense = draft.pick(("past", "past", "future"))
    wish = replace(_BRIEF, tense=tense, place=False)
    done = action(draft, frame, wish)
    left = action(draft, frame, replace(wish, negated=True))
    done.manner = None
    pair = (done, left) if draft.chance(0.5) else (left, done)
    if isinstance(pair[1].subject, Pronoun):
        raise Again
    return pair


def next_action(draft: Draft) -> Pair:
    """Anna washed the car before she visited her aunt."""
    tense: Tense = draft.pick(("present", "past", "past", "future"))
    a = action(draft, draft.pick(DEEDS), replace(_BRIEF, tense=tense))
    before: Tense = "past" if tense == "past" else "present"
    wish = replace(_BRIEF, tense=before, place=False)
    return a, action(draft, draft.pick(DEEDS), wish, pronoun_for(a.subject))


_ARRIVALS = tuple(
    frame
    for frame in PLAIN
    if key(frame.verb) in ("arrive", "wake_up", "get_up", "fall_asleep", "return", "come")
    and frame.complement != "from-city"
)


def arrival(draft: Draft) -> Pair:
    """As soon as the guests arrive, Anna will open the door."""
    a = action(draft, draft.pick(_ARRIVALS), replace(_BRIEF, tense="present"))
    a.manner = None
    return a, action(draft, draft.pick(LASTING), replace(_BRIEF, tense="future"))


# Clauses that are objects


def report(draft: Draft) -> Pair:
    """Anna says that the teacher bought a car."""
    frame = draft.pick(with_clause("that"))
    a = action(draft, frame, replace(_BRIEF, tense="present"))
    if frame.verb.english == "hope":
        tense: Tense = draft.pick(("future", "past"))
        b = action(draft, draft.pick(ACTIVITIES), Wish(tense, modal=False, relative=False))
    elif frame.verb.english != "hear" and draft.chance(0.25):
        b = description(draft)
    else:
        b = action(draft, draft.pick(PLAIN), Wish(relative=False))
    b.time_first = False
    return a, b


def doubt(draft: Draft) -> Pair:
    """Anna does not know whether the train arrived."""
    a = _doubting(draft)
    wish = Wish(negated=False, relative=False, third_person=True, known=True)
    b = action(draft, draft.pick(PLAIN), wish)
    b.time_first = False
    return a, b


def indirect_question(draft: Draft) -> Pair:
    """Anna does not know where the children are playing."""
    a, (b,) = _doubting(draft), open_question(draft)
    if isinstance(b.subject, Pronoun):
        raise Again
    return a, b


def _doubting(draft: Draft) -> Clause:
    frame = draft.pick(with_clause("whether"))
    knows = frame.verb.english == "know"
    tense: Tense = "present" if knows else draft.pick(("present", "progressive"))
    return action(draft, frame, replace(_BRIEF, tense=tense, negated=knows))


# Infinitives


_GOING = next(frame for frame in PLAIN if frame.verb.english == "go")
_ERRANDS: tuple[tuple[Frame, Place], ...] = tuple(
    (frame, place)
    for frame in PLANNED
    if "instant" not in frame.flags and "person" in frame.subject_tags
    for place in frame.places
    if place in _GOING.targets
)


def purpose(draft: Draft) -> Pair:
    """Anna goes into the kitchen to bake a cake."""
    frame, place = draft.pick(_ERRANDS)
    tense: Tense = draft.pick(("present", "progressive", "past", "past", "future"))
    of = subject(draft, ANYBODY, anybody=True)
    a = Clause(of, _GOING.verb, tense, complement=at_place(draft, place, place.to, of))
    b = action(draft, frame, replace(_BRIEF, tense="present", place=False), pronoun_for(of))
    b.manner = None
    return a, b


_ATTEMPTS = {verb: words(following) for verb, following in rows("attempts", 2)}
_ATTEMPTED = {
    verb: tuple(
        frame
        for frame in PLAIN
        if key(frame.verb) in following
        and ("person" in frame.subject_tags or "adult" in frame.subject_tags)
    )
    for verb, following in _ATTEMPTS.items()
}


def attempt(draft: Draft) -> Pair:
    """Anna tries to open the door."""
    frame = draft.pick(with_clause("infinitive"))
    of = subject(draft, ANYBODY, anybody=True)
    tenses: tuple[Tense, ...] = ("present", "past", "past")
    if frame.verb.english in ("try", "promise"):
        tenses += ("progressive", "future")
    a = action(draft, frame, replace(_BRIEF, tense=draft.pick(tenses)), of)
    wish = replace(_BRIEF, tense="future", place=False)
    return a, action(draft, draft.pick(_ATTEMPTED[frame.verb.english]), wish, pronoun_for(of))
