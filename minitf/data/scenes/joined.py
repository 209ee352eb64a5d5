"""Draws clauses that are joined by a conjunction, with reasons that make sense."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from minitf.data.scenes.chance import Draft, Retry
from minitf.data.scenes.clauses import ANYBODY, PLAIN, Wish, action, description, is_person, nouns_of
from minitf.data.scenes.lexicon import (
    ADJECTIVES, FRAMES, IT_N, VERB, Adjective, Frame, Place, Verb, Word,
)  # fmt: skip
from minitf.data.scenes.nominals import at_place, subject
from minitf.data.scenes.phrases import (
    Clause, Couple, Nominal, NounPhrase, Predicate, Pronoun, Tense, reference,
)  # fmt: skip
from minitf.data.scenes.questions import open_question
from minitf.data.scenes.tables import rows, spelled, words

Pair = tuple[Clause, Clause]

_ACTIVITIES = tuple(
    frame
    for frame in PLAIN
    if frame.flags.isdisjoint(("state", "hidden", "slow"))
    and any("person" in noun.tags for noun in frame.subjects)
)
_LASTING = tuple(frame for frame in _ACTIVITIES if "instant" not in frame.flags)
_OF_ANYBODY = tuple(frame for frame in _ACTIVITIES if "person" in frame.subject_tags)
_BRIEF = Wish(timed=False, modal=False, negated=False, plain_nouns=True)
"""Two clauses make a long sentence: each says little."""


def _frames(complement: str) -> tuple[Frame, ...]:
    return tuple(frame for frame in FRAMES if frame.complement == complement)


def _again(of: Nominal) -> Pronoun:
    forms = reference(of)
    if forms is None:
        raise Retry
    return Pronoun(forms)


def _tense_after(c: Clause) -> Tense:
    """The tense of a clause that depends on this one."""
    return "past" if c.tense == "past" else "present"


# Reasons


class Reason:
    """A row of tables/reasons.txt."""

    def __init__(self, row: list[str]) -> None:
        self.conjunction, self.main, verbs, self.of = row[:4]
        self.verb: Verb = VERB[row[4], row[5]]
        self.complement = Word(spelled(row[6]), spelled(row[7]))
        self.qualities: tuple[Adjective, ...] = ()
        if row[6] == "quality":
            wanted = words(row[7])
            self.qualities = tuple(each for each in ADJECTIVES if each.english in wanted)
        self.of_animals = row[6] in ("tired", "hungry")
        self.frames = tuple(
            frame
            for frame in (_ACTIVITIES if verbs == "*" else PLAIN)
            if (verbs == "*" or _key(frame.verb) in words(verbs))
            and (self.of_animals or any("person" in noun.tags for noun in frame.subjects))
        )

    @property
    def first(self) -> bool:
        """Whether the subordinate clause may come first: it does not speak of the object."""
        return self.of != "object" and self.complement.english != "pronoun"


def _key(verb: Verb) -> str:
    return f"{verb.english}|{verb.particle}".rstrip("|").replace(" ", "_")


_REASONS = tuple(map(Reason, rows("reasons", 8)))


@cache
def _reasons(conjunction: str, first: bool) -> tuple[Reason, ...]:
    return tuple(
        reason
        for reason in _REASONS
        if reason.conjunction == conjunction and (reason.first or not first)
    )


def _reasoned(draft: Draft, conjunction: str, first: bool) -> Pair:
    reason = draft.pick(_reasons(conjunction, first))
    tense: Tense = "future" if reason.main == "future" else draft.pick(_MAIN_TENSES)
    negated = reason.main == "negated"
    wish = replace(_BRIEF, tense=tense, negated=negated, plain_subject=True)
    main = action(draft, draft.pick(reason.frames), wish)
    if not (reason.of_animals or is_person(main.subject)):
        raise Retry
    minor = Clause(main.subject, reason.verb, _tense_after(main))
    if reason.of == "it":
        minor.subject = Pronoun(IT_N)
        if reason.verb.infinitive != "sein" and minor.tense == "present" and conjunction != "if":
            minor.tense = "progressive"
    elif reason.of == "object":
        minor.subject = _again(_object(main))
    elif first:
        main.subject = _again(main.subject)
    else:
        minor.subject = _again(main.subject)
    if reason.qualities:
        phrase = _object(main)
        quality = draft.pick(reason.qualities)
        if phrase.noun not in nouns_of(quality):
            raise Retry
        draft.combine(quality, phrase.noun)
        minor.predicate = Predicate(quality)
    elif reason.complement.english == "pronoun":
        if main.accusative is None and main.dative is None and main.complement is None:
            raise Retry
        target = main.accusative or main.dative
        if target is None or isinstance(target, Pronoun):
            raise Retry
        minor.accusative = _again(target)
    elif reason.complement.english:
        minor.predicate = Predicate(words=reason.complement)
    return main, minor


_MAIN_TENSES: tuple[Tense, ...] = ("present", "progressive", "past", "past", "future")


def _object(c: Clause) -> NounPhrase:
    """The accusative object as a noun without adjective, of which something can be said."""
    phrase = c.accusative
    if not isinstance(phrase, NounPhrase) or phrase.adjective is not None:
        raise Retry
    return phrase


def because(draft: Draft) -> Pair:
    """Anna is eating because she is hungry."""
    return _reasoned(draft, "because", first=False)


def because_first(draft: Draft) -> Pair:
    """Because Anna is hungry, she is eating."""
    return _reasoned(draft, "because", first=True)


def although(draft: Draft) -> Pair:
    """Anna is dancing although she is tired."""
    return _reasoned(draft, "although", first=False)


def although_first(draft: Draft) -> Pair:
    """Although Anna is tired, she is dancing."""
    return _reasoned(draft, "although", first=True)


def if_first(draft: Draft) -> Pair:
    """If Anna has time, she will help her mother."""
    return _reasoned(draft, "if", first=True)


# Two actions


def _two(draft: Draft, tenses: tuple[Tense, ...], first: Wish, second: Wish) -> Pair:
    tense = draft.pick(tenses)
    a = action(draft, draft.pick(_LASTING), replace(first, tense=tense))
    b = action(draft, draft.pick(_LASTING), replace(second, tense=tense))
    if isinstance(a.subject, Pronoun) and isinstance(b.subject, Pronoun):
        raise Retry
    return a, b


def meanwhile(draft: Draft) -> Pair:
    """Anna read a book while the children slept."""
    return _two(draft, ("present", "past"), _BRIEF, _BRIEF)


def both_actions(draft: Draft) -> Pair:
    """Anna is reading a book and the children are sleeping."""
    a, b = _two(draft, ("past", "progressive", "future"), _BRIEF, _BRIEF)
    if isinstance(b.subject, Couple):
        raise Retry
    return a, b


def contrast(draft: Draft) -> Pair:
    """Anna drank the milk, but Peter did not drink the juice."""
    frame = draft.pick(_OF_ANYBODY)
    tense: Tense = draft.pick(("past", "past", "future"))
    wish = replace(_BRIEF, tense=tense, place=False)
    a = action(draft, frame, wish)
    b = action(draft, frame, replace(wish, negated=True))
    a.manner = b.manner = None
    if reference(a.subject) is reference(b.subject):
        raise Retry
    return (a, b) if draft.chance(0.5) else (b, a)


def next_action(draft: Draft) -> Pair:
    """Anna washed the car before she visited her aunt."""
    tense = draft.pick(_NEXT_TENSES)
    a = action(draft, draft.pick(_ERRAND_LIKE), replace(_BRIEF, tense=tense))
    wish = replace(_BRIEF, tense=_tense_after(a), place=False)
    return a, action(draft, draft.pick(_ERRAND_LIKE), wish, _again(a.subject))


_ERRAND_LIKE = tuple(
    frame for frame in _OF_ANYBODY
    if frame.accusatives or frame.datives or frame.governed or frame.targets
)  # fmt: skip


_NEXT_TENSES: tuple[Tense, ...] = ("present", "past", "past", "future")


def arrival(draft: Draft) -> Pair:
    """As soon as the guests arrive, Anna will open the door."""
    a = action(draft, draft.pick(_ARRIVALS), replace(_BRIEF, tense="present"))
    a.manner = None
    return a, action(draft, draft.pick(_LASTING), replace(_BRIEF, tense="future"))


_ARRIVALS = tuple(
    frame
    for frame in PLAIN
    if _key(frame.verb) in ("arrive", "wake_up", "get_up", "fall_asleep", "return", "come")
    and "state" not in frame.flags
    and frame.complement != "from-city"
)


# Clauses that are objects


def report(draft: Draft) -> Pair:
    """Anna says that the teacher has bought a car."""
    frame = draft.pick(_frames("that"))
    a = action(draft, frame, replace(_BRIEF, tense="present"))
    if frame.verb.infinitive == "hoffen":
        tense: Tense = draft.pick(("future", "past"))
        b = action(draft, draft.pick(_ACTIVITIES), Wish(tense=tense, modal=False))
    elif frame.verb.infinitive != "hören" and draft.chance(0.25):
        b = description(draft)
    else:
        b = action(draft, draft.pick(PLAIN), Wish(plain_nouns=True))
    b.time_first = False
    return a, b


def _doubting(draft: Draft) -> Clause:
    frame = draft.pick(_frames("whether"))
    knows = frame.verb.infinitive == "wissen"
    tense: Tense = "present" if knows else draft.pick(("present", "progressive"))
    return action(draft, frame, replace(_BRIEF, tense=tense, negated=knows))


def doubt(draft: Draft) -> Pair:
    """Anna does not know whether the train has arrived."""
    a = _doubting(draft)
    wish = Wish(negated=False, third_person=True, plain_nouns=True, known=True)
    b = action(draft, draft.pick(PLAIN), wish)
    b.time_first = False
    return a, b


def indirect_question(draft: Draft) -> Pair:
    """Anna does not know where the children are playing."""
    a, b = _doubting(draft), open_question(draft)[0]
    if isinstance(b.subject, Pronoun):
        raise Retry
    return a, b


# Infinitives


def purpose(draft: Draft) -> Pair:
    """Anna goes into the kitchen to bake a cake."""
    frame, place = draft.pick(_ERRANDS)
    tense: Tense = draft.pick(("present", "progressive", "past", "past", "future"))
    of = subject(draft, _GOING.subjects, anybody=True)
    a = Clause(of, _GOING.verb, tense, complement=at_place(draft, place, place.to, of))
    wish = replace(_BRIEF, tense="present", place=False)
    b = action(draft, frame, wish, _again(of))
    b.manner = None
    return a, b


_GOING = next(frame for frame in PLAIN if frame.verb.infinitive == "gehen")
_ERRANDS: tuple[tuple[Frame, Place], ...] = tuple(
    (frame, place)
    for frame in _OF_ANYBODY
    if frame.flags.isdisjoint(("instant", "aimless"))
    for place in frame.places
    if place in _GOING.targets
)


def attempt(draft: Draft) -> Pair:
    """Anna tries to open the door."""
    frame = draft.pick(_frames("infinitive"))
    of = subject(draft, ANYBODY, anybody=True)
    tense: Tense = draft.pick(("present", "progressive", "past", "future"))
    a = action(draft, frame, replace(_BRIEF, tense=tense), of)
    wish = replace(_BRIEF, tense="future", place=False)
    return a, action(draft, draft.pick(_ATTEMPTED[frame.verb.english]), wish, _again(of))


_ATTEMPTED = {
    verb: tuple(frame for frame in PLAIN if _key(frame.verb) in words(following)
                and not {"person", "adult"}.isdisjoint(frame.subject_tags))
    for verb, following in rows("attempts", 2)
}  # fmt: skip
