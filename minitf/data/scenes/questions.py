"""Draws questions."""

from __future__ import annotations

from collections.abc import Callable

from minitf.data.scenes.activities import ANYBODYS, PLAIN
from minitf.data.scenes.chance import Again, Draft
from minitf.data.scenes.clauses import Wish, action
from minitf.data.scenes.descriptions import description
from minitf.data.scenes.entries import Frame, Noun, Word
from minitf.data.scenes.lexicon import WHICH
from minitf.data.scenes.phrases import (
    Adjunct,
    Clause,
    Interrogative,
    Name,
    Nominal,
    NounPhrase,
    Pronoun,
)

_WISH = Wish(negated=False, third_person=True, relative=False, known=True)
_WHEN, _WHY, _HOW = Word("when", "wann"), Word("why", "warum"), Word("how", "wie")
_WHERE = {"at": Word("where", "wo"), "to": Word("where", "wohin")}


def polar_question(draft: Draft) -> tuple[Clause]:
    """Does Anna read the book? Is the book old?"""
    if draft.chance(0.2):
        return (description(draft, negated=False),)
    c = action(draft, draft.pick(PLAIN), _WISH)
    c.time_first = False
    if c.time is not None and c.time.english in ("never", "rarely"):
        raise Again
    return (c,)


def open_question(draft: Draft) -> tuple[Clause]:
    """Who reads the book? Where does Anna sleep? Which book did she buy?"""
    asked = draft.pick(_QUESTIONS)(draft)
    asked.time_first = False
    return (asked,)


def _who_subject(draft: Draft) -> Clause:
    return action(draft, draft.pick(ANYBODYS), _WISH, Interrogative(person=True))


def _object(draft: Draft) -> Clause:
    c = action(draft, draft.pick(PLAIN), _WISH)
    c.accusative = _interrogative(draft, c.accusative)
    return c


def _dative(draft: Draft) -> Clause:
    c = action(draft, draft.pick(_WITH_DATIVE), _WISH)
    c.dative = _interrogative(draft, c.dative)
    return c


_WITH_DATIVE = tuple(frame for frame in PLAIN if frame.datives and not frame.accusatives)


def _interrogative(draft: Draft, phrase: Nominal | None) -> Interrogative:
    match phrase:
        case NounPhrase(noun=noun, owner=None) if not noun.has(("building", "site", "home")):
            _forget(draft, noun)
            return Interrogative("person" in noun.tags)
        case Name() | Pronoun():
            return Interrogative(person=True)
        case _:
            raise Again


def _forget(draft: Draft, noun: Noun) -> None:
    """Takes back what was noted of a noun that is now asked for."""
    draft.combinations = [each for each in draft.combinations if each[1] != noun.english]


def _which(draft: Draft) -> Clause:
    c = action(draft, draft.pick(PLAIN), _WISH)
    phrase = c.accusative
    if not isinstance(phrase, NounPhrase) or "mass" in phrase.noun.tags or phrase.owner:
        raise Again
    phrase.determiner, phrase.numeral = WHICH, None
    return c


def _where(draft: Draft) -> Clause:
    frame = draft.pick(PLAIN)
    c = action(draft, frame, _WISH)
    if c.place is not None:
        c.asks, c.place = _where_word(draft, "at", c.place), None
    elif frame.complement in _WHERE and c.complement is not None:
        c.asks, c.complement = _where_word(draft, frame.complement, c.complement), None
    else:
        raise Again
    c.manner = None
    return c


def _where_word(draft: Draft, way: str, place: Adjunct) -> Word:
    if isinstance(place.nominal, NounPhrase):
        _forget(draft, place.nominal.noun)
    return _WHERE[way]


def _adverbial(word: Word, allowed: Callable[[Frame], bool]) -> Callable[[Draft], Clause]:
    frames = tuple(filter(allowed, PLAIN))

    def ask(draft: Draft) -> Clause:
        c = action(draft, draft.pick(frames), _WISH)
        if word is _HOW:
            c.manner = c.time = c.occasion = None
            if c.tense == "future" or c.modal:
                raise Again
        if word is _WHEN:
            c.time = c.occasion = None
            if c.tense == "progressive":
                raise Again  # 'wann' and 'gerade' exclude each other
        c.asks = word
        return c

    return ask


_QUESTIONS: tuple[Callable[[Draft], Clause], ...] = (
    _who_subject, _object, _object, _dative, _which, _where, _where, _where,
    _adverbial(_WHEN, lambda frame: "state" not in frame.flags),
    _adverbial(_WHY, lambda frame: "state" not in frame.flags),
    _adverbial(_HOW, lambda frame: bool(frame.manners) and frame in ANYBODYS),
)  # fmt: skip
