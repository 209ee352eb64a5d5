"""English clauses against sentences written by hand."""

from __future__ import annotations

import pytest

from minitf.data.scenes.english import Order, clause, nominal, third_person, with_article
from minitf.data.scenes.lexicon import (
    ADJECTIVES,
    HE,
    MODALS,
    NOUN,
    NOUNS,
    PEOPLE,
    THE,
    TIMES,
    VERB,
    A,
    I,
)
from minitf.data.scenes.phrases import (
    Clause,
    Interrogative,
    Name,
    NounPhrase,
    Predicate,
    Pronoun,
    Relative,
)

ADJECTIVE = {adjective.english: adjective for adjective in ADJECTIVES}
MODAL = {modal.english: modal for modal in MODALS}
TIME = {time.english: time for time in TIMES}
ANNA = Name(next(name for name in PEOPLE if name.english == "Anna"))
READ = VERB["read", "lesen"]
BE = VERB["be", "sein"]
BUY = VERB["buy", "kaufen"]
PICK_UP = VERB["pick|up", "abholen"]
BOOK = NounPhrase(THE, NOUN["book"])
AN_APPLE = NounPhrase(A, NOUN["apple"])
DOGS = NounPhrase(THE, NOUN["dog"], plural=True)
OLD = Predicate(ADJECTIVE["old"])


@pytest.mark.parametrize(
    ("said", "order", "english"),
    [
        (Clause(ANNA, BUY, accusative=AN_APPLE), "plain", "Anna buys an apple"),
        (Clause(Pronoun(I), BUY, accusative=AN_APPLE), "plain", "I buy an apple"),
        (Clause(ANNA, BUY, accusative=AN_APPLE), "question", "does Anna buy an apple"),
        (Clause(ANNA, BUY, accusative=AN_APPLE), "infinitive", "to buy an apple"),
        (Clause(ANNA, BUY, "past", accusative=AN_APPLE), "plain", "Anna bought an apple"),
        (Clause(ANNA, BUY, "past", negated=True, accusative=AN_APPLE), "plain",
         "Anna did not buy an apple"),
        (Clause(ANNA, BUY, "progressive", negated=True, accusative=AN_APPLE), "plain",
         "Anna is not buying an apple"),
        (Clause(DOGS, VERB["sleep", "schlafen"], "progressive"), "question",
         "are the dogs sleeping"),
        (Clause(ANNA, BUY, "future", accusative=AN_APPLE, time=TIME["tomorrow"], time_first=True),
         "plain", "tomorrow Anna will buy an apple"),
        (Clause(ANNA, BUY, accusative=AN_APPLE, time=TIME["often"]), "plain",
         "Anna often buys an apple"),
        (Clause(ANNA, BUY, modal=MODAL["can"], negated=True, accusative=AN_APPLE), "plain",
         "Anna cannot buy an apple"),
        (Clause(ANNA, BUY, modal=MODAL["have"], negated=True, accusative=AN_APPLE), "plain",
         "Anna does not have to buy an apple"),
        (Clause(ANNA, BUY, "past", modal=MODAL["have"], accusative=AN_APPLE), "plain",
         "Anna had to buy an apple"),
        (Clause(ANNA, BUY, modal=MODAL["want"], accusative=AN_APPLE), "question",
         "does Anna want to buy an apple"),
        (Clause(Pronoun(I), BUY, modal=MODAL["be"], accusative=AN_APPLE), "plain",
         "I am allowed to buy an apple"),
        (Clause(ANNA, BUY, modal=MODAL["would"], accusative=AN_APPLE), "question",
         "would Anna like to buy an apple"),
        (Clause(ANNA, PICK_UP, accusative=NounPhrase(THE, NOUN["child"])), "plain",
         "Anna picks up the child"),
        (Clause(ANNA, PICK_UP, accusative=Pronoun(HE)), "plain", "Anna picks him up"),
        (Clause(ANNA, VERB["give", "geben"], dative=Pronoun(HE), accusative=AN_APPLE), "plain",
         "Anna gives him an apple"),
        (Clause(ANNA, VERB["listen", "zuhören"], to_dative=True, dative=Pronoun(HE)), "plain",
         "Anna listens to him"),
        (Clause(ANNA, VERB["listen", "zuhören"], to_dative=True, dative=Interrogative(True)),
         "question", "who does Anna listen to"),
        (Clause(Interrogative(True), BUY, "past", accusative=AN_APPLE), "question",
         "who bought an apple"),
        (Clause(BOOK, BE, "past", predicate=OLD), "plain", "the book was old"),
        (Clause(DOGS, BE, predicate=OLD), "question", "are the dogs old"),
        (Clause(BOOK, BE, negated=True, predicate=Predicate(
            ADJECTIVE["expensive"], than=NounPhrase(A, NOUN["apple"], adjective=ADJECTIVE["old"]))),
         "plain", "the book is not more expensive than an old apple"),
    ],
)  # fmt: skip
def test_clauses(said: Clause, order: Order, english: str) -> None:
    assert clause(said, order) == english


def test_owners() -> None:
    teacher = NounPhrase(THE, NOUN["teacher"])
    house = NounPhrase(THE, NOUN["house"], adjective=ADJECTIVE["old"])
    assert nominal(NounPhrase(THE, NOUN["dog"], owner=teacher)) == "the teacher's dog"
    assert nominal(NounPhrase(THE, NOUN["dog"], owner=ANNA)) == "Anna's dog"
    assert nominal(NounPhrase(THE, NOUN["roof"], owner=house, part=True)) == (
        "the roof of the old house"
    )


def test_people_are_who_and_the_rest_is_that() -> None:
    for noun, expected in (("man", "the man who reads"), ("cat", "the cat that reads")):
        phrase = NounPhrase(THE, NOUN[noun])
        phrase.relative = Clause(Relative(phrase), READ)
        assert nominal(phrase) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("old hat", "an old hat"), ("hat", "a hat"), ("honest man", "an honest man"),
     ("university", "a university"), ("uniform", "a uniform"), ("umbrella", "an umbrella")],
)  # fmt: skip
def test_articles_go_by_sound(text: str, expected: str) -> None:
    assert with_article(text) == expected


def test_third_persons() -> None:
    verbs = ("wash", "watch", "carry", "play", "go", "have", "wake up", "look for")
    assert [third_person(verb) for verb in verbs] == [
        "washes", "watches", "carries", "plays", "goes", "has", "wakes up", "looks for",
    ]  # fmt: skip


def test_no_plural_is_the_singular() -> None:
    """Otherwise `the sheep slept` would have two translations."""
    assert all(noun.english != noun.english_plural for noun in NOUNS)
