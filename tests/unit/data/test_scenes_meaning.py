"""What is drawn makes sense and has one translation: properties of tables, frames and clauses."""

from __future__ import annotations

import random
from itertools import combinations

import pytest

from minitf.data.scenes.activities import PLAIN
from minitf.data.scenes.chance import Again, Draft
from minitf.data.scenes.clauses import Wish, action
from minitf.data.scenes.entries import Frame
from minitf.data.scenes.lexicon import BARE, FRAMES, HE, NOUN, NOUNS, SHE, THEY, I
from minitf.data.scenes.nominals import ADJECTIVES_OF, Role, noun_phrase
from minitf.data.scenes.phrases import Clause, NounPhrase, Pronoun, Tense
from minitf.data.scenes.reasons import REASONS
from minitf.data.scenes.sentences import TEMPLATES
from minitf.data.scenes.tables import rows, words


def _frame(english: str, german: str) -> Frame:
    return next(
        frame
        for frame in FRAMES
        if (frame.verb.english, frame.verb.prefix + frame.verb.infinitive) == (english, german)
    )


def _draw(frame: Frame, wish: Wish, of: Pronoun, seed: int) -> Clause | None:
    try:
        return action(Draft(random.Random(seed)), frame, wish, of)
    except Again:
        return None


def _same_structure(one: Frame, other: Frame) -> bool:
    """Whether English could not tell by the structure which of the two is meant."""
    return bool(one.datives) == bool(other.datives) and one.complement == other.complement


def test_one_english_verb_has_one_german_verb_for_the_same_nouns() -> None:
    """`Put the book` is legen and `put the vase` is stellen: the noun decides."""
    for one, other in combinations(PLAIN, 2):
        same = (one.verb.english, one.verb.particle) == (other.verb.english, other.verb.particle)
        if same and one.verb is not other.verb and _same_structure(one, other):
            nouns = "accusatives" if one.accusatives or other.accusatives else "subjects"
            shared = set(getattr(one, nouns)) & set(getattr(other, nouns))
            assert not shared, (one.verb, other.verb, shared)


@pytest.mark.parametrize(("english", "german"), [("read", "lesen"), ("cut", "schneiden")])
def test_no_present_that_sounds_past(english: str, german: str) -> None:
    """`They read the book` could be `sie lesen` or `sie haben gelesen`: only the past is drawn."""
    frame = _frame(english, german)
    present = Wish("present", modal=False, negated=False)
    assert all(_draw(frame, present, Pronoun(THEY), seed) is None for seed in range(20))
    assert all(_draw(frame, present, Pronoun(I), seed) is None for seed in range(20))
    assert any(_draw(frame, present, Pronoun(HE), seed) for seed in range(20))
    past = Wish("past", modal=False, negated=False)
    assert any(_draw(frame, past, Pronoun(THEY), seed) for seed in range(20))


def test_no_writing_her_letters() -> None:
    """`He wrote her letters` could be to her, or hers: after `her`, the object has a determiner."""
    frame = next(each for each in PLAIN if each.verb.english == "write" and each.datives)
    drawn = [_draw(frame, Wish("past"), Pronoun(HE), seed) for seed in range(2_000)]
    objects = [
        c.accusative for c in drawn if c and isinstance(c.dative, Pronoun) and c.dative.forms is SHE
    ]
    assert len(objects) > 20
    assert not any(isinstance(each, NounPhrase) and each.determiner is BARE for each in objects)


def test_nobody_visits_himself() -> None:
    frame = _frame("visit", "besuchen")
    drawn = [_draw(frame, Wish("past"), Pronoun(I), seed) for seed in range(500)]
    objects = [c.accusative for c in drawn if c and isinstance(c.accusative, Pronoun)]
    assert objects
    assert {each.forms.english for each in objects} <= {"he", "she", "they"}


def test_garments_are_ones_own() -> None:
    frame = _frame("take", "ausziehen")
    drawn = [_draw(frame, Wish("past"), Pronoun(SHE), seed) for seed in range(500)]
    phrases = [c.accusative for c in drawn if c and isinstance(c.accusative, NounPhrase)]
    assert not any(phrase.owner for phrase in phrases)
    mine = {phrase.determiner.english for phrase in phrases} & {"my", "his", "her", "our", "their"}
    assert mine == {"her"}


def test_kin_is_always_somebodys() -> None:
    roles: tuple[Role, ...] = ("subject", "object", "known", "negated", "place")
    for noun in (noun for noun in NOUNS if "kin" in noun.tags):
        for role in roles:
            for seed in range(20):
                phrase = noun_phrase(Draft(random.Random(seed)), noun, role)
                possessive = phrase.determiner.stem in ("mein", "sein", "ihr", "unser")
                assert possessive or phrase.owner is not None, (noun.english, role)


@pytest.mark.parametrize(
    ("tense", "allowed"),
    [("past", "past"), ("future", "future"), ("present", "present")],
)
def test_times_go_with_tenses(tense: Tense, allowed: str) -> None:
    frame = _frame("visit", "besuchen")
    wish = Wish(tense, modal=False, negated=False)
    drawn = [_draw(frame, wish, Pronoun(HE), seed) for seed in range(300)]
    times = [c.time for c in drawn if c and c.time]
    assert len(times) > 50
    assert all(allowed in time.tenses for time in times)


def test_qualities_suit_their_nouns() -> None:
    adjectives = {
        noun: {adjective.english for adjective in ADJECTIVES_OF[NOUN[noun]]}
        for noun in ("table", "grandmother", "boy", "friend", "soup", "river")
    }
    assert {"round", "heavy"} <= adjectives["table"]
    assert not {"hungry", "ripe"} & adjectives["table"]
    assert "young" not in adjectives["grandmother"]
    assert "old" not in adjectives["boy"]
    assert "friendly" not in adjectives["friend"]
    assert {"hot", "warm"} <= adjectives["soup"]
    assert "deep" in adjectives["river"]


def test_tables_speak_only_of_what_there_is() -> None:
    """A misspelt tag or verb would silently match nothing."""
    tags = {tag for noun in NOUNS for tag in noun.tags}
    kinds = {kind for row in rows("places", 6) for kind in words(row[5])}
    kinds |= {noun for row in rows("places", 6) for noun in words(row[0])}
    for row in rows("adjectives", 6):
        assert {tag.removeprefix("!") for tag in words(row[5])} <= tags, row
    for row in rows("frames", 9):
        assert {tag for cell in row[2:5] for tag in words(cell)} <= tags, row
        kind, _, of = row[5].partition(":")
        assert set(words(of or "-")) <= (tags if "/" in kind else kinds), row
        assert set(words(row[6])) <= kinds, row
    for reason in REASONS:
        assert reason.frames, reason


def test_flags_are_known() -> None:
    known = {
        "to", "state", "once", "slow", "new", "hidden", "instant", "aimless", "shared", "known",
        "liked", "own", "sich",
    }  # fmt: skip
    assert {flag for frame in FRAMES for flag in frame.flags} == known


def test_every_template_can_be_drawn() -> None:
    for template in TEMPLATES:
        for seed in range(300):
            try:
                clauses = template.draw(Draft(random.Random(seed)))
            except Again:
                continue
            assert len(clauses) == (2 if "{b" in template.german else 1)
            break
        else:
            pytest.fail(f"{template.english} is never drawn")
