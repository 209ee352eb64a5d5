"""How many sentences there are: a lower bound that can be checked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from minitf.data.scenes import english
from minitf.data.scenes.activities import PLAIN
from minitf.data.scenes.entries import Frame, Noun, Time
from minitf.data.scenes.lexicon import THE, THIS, TIMES
from minitf.data.scenes.nominals import ADJECTIVES_OF
from minitf.data.scenes.phrases import Clause, NounPhrase

_COUNTED = (THE, THIS)


def lower_bound() -> int:
    """The number of distinct pairs of one kind alone: `the old man bought this car yesterday`.

    Counted are statements in the past with an accusative object; each noun stands in the singular
    after `the` or `this`, with or without an adjective, and the time is one of the tables' or none.
    Different choices make different English sentences, except that two frames of one English verb
    may overlap: of each verb, only the frame with the most sentences counts. Whatever else the
    grammar says (other tenses, plurals, possessives, places, joined clauses) comes on top.
    """
    largest: dict[str, int] = {}
    for frame in counted_frames():
        verb = f"{frame.verb.english} {frame.verb.particle}"
        largest[verb] = max(largest.get(verb, 0), count(frame))
    return sum(largest.values())


def counted_frames() -> tuple[Frame, ...]:
    """The frames that `lower_bound` counts: an accusative, a past tense, times."""
    return tuple(
        frame
        for frame in PLAIN
        if frame.accusatives
        and not frame.datives
        and not frame.targets
        and frame.flags.isdisjoint(("state", "slow", "sich"))
    )


def count(frame: Frame) -> int:
    """How many sentences `statements` yields for a frame."""
    subjects, objects = _nouns(frame.subjects), _nouns(frame.accusatives)
    same = sum(_forms(noun) ** 2 for noun in set(subjects) & set(objects))
    pairs = sum(map(_forms, subjects)) * sum(map(_forms, objects)) - same
    return pairs * (len(_times()) + 1)


def statements(frame: Frame) -> Iterator[Clause]:
    """All the sentences of a frame that are counted."""
    nouns = product(_nouns(frame.subjects), _nouns(frame.accusatives), (None, *_times()))
    for of, what, time in nouns:
        if of is not what:
            for subject, thing in product(_phrases(of), _phrases(what)):
                yield Clause(subject, frame.verb, "past", accusative=thing, time=time)


def _nouns(nouns: tuple[Noun, ...]) -> tuple[Noun, ...]:
    """Nouns that can stand in the singular after `the` and `this`."""
    return tuple(noun for noun in nouns if noun.tags.isdisjoint(("mass", "kin", "pair")))


def _times() -> tuple[Time, ...]:
    """Times of a single event in the past."""
    return tuple(
        time
        for time in TIMES
        if "past" in time.tenses and "present" not in time.tenses and time.scale == "day"
    )


def _forms(noun: Noun) -> int:
    return len(_COUNTED) * (1 + len(ADJECTIVES_OF[noun]))


def _phrases(noun: Noun) -> Iterator[NounPhrase]:
    for determiner, adjective in product(_COUNTED, (None, *ADJECTIVES_OF[noun])):
        yield NounPhrase(determiner, noun, adjective=adjective)


def test_there_are_more_than_a_hundred_million_pairs() -> None:
    assert lower_bound() > 10**8


@pytest.mark.parametrize("verb", ["catch", "observe"])
def test_the_count_is_that_of_distinct_sentences(verb: str) -> None:
    frame = min((frame for frame in counted_frames() if frame.verb.english == verb), key=count)
    spoken = {english.clause(each) for each in statements(frame)}
    assert len(spoken) == count(frame) > 1_000
