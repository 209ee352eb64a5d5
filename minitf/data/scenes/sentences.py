"""Draws sentences: a template, its clauses, and the text in both languages."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

from minitf.data.scenes import english, german_clause, joined, questions, reasons
from minitf.data.scenes.activities import PLAIN
from minitf.data.scenes.chance import Again, Combination, Draft
from minitf.data.scenes.clauses import action
from minitf.data.scenes.descriptions import description
from minitf.data.scenes.phrases import Clause
from minitf.data.scenes.tables import rows

_SLOT = re.compile(r"\{([ab])(?::(\w+))?\}")
_ENGLISH_ORDERS: dict[str, english.Order] = {"question": "question", "infinitive": "infinitive"}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A pair of sentences and the combinations that the compositional split holds out."""

    english: str
    german: str
    combinations: tuple[Combination, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A row of tables/templates.txt: text with slots, and the function that fills them."""

    weight: int
    english: str
    german: str
    draw: Callable[[Draft], tuple[Clause, ...]]


def statement(draft: Draft) -> tuple[Clause]:
    """Anna reads a book every day. The book is very old."""
    if draft.chance(0.16):
        return (description(draft),)
    return (action(draft, draft.pick(PLAIN)),)


def _drawing(name: str) -> Callable[[Draft], tuple[Clause, ...]]:
    if name == "statement":
        return statement
    module = next(room for room in (questions, reasons, joined) if hasattr(room, name))
    return cast("Callable[[Draft], tuple[Clause, ...]]", getattr(module, name))


TEMPLATES = tuple(
    Template(int(weight), english, german, _drawing(name))
    for weight, english, german, name in rows("templates", 4)
)
_BY_WEIGHT = tuple(template for template in TEMPLATES for _ in range(template.weight))


def sentence(rng: random.Random) -> Sentence:
    """Draws one pair of sentences."""
    while True:
        draft = Draft(rng)
        template = draft.pick(_BY_WEIGHT)
        try:
            clauses = dict(zip("ab", template.draw(draft), strict=False))
        except Again:
            continue
        return Sentence(
            _finish(_SLOT.sub(partial(_english, clauses), template.english)),
            _finish(_SLOT.sub(partial(_german, clauses), template.german)),
            tuple(draft.combinations),
        )


def _english(clauses: dict[str, Clause], slot: re.Match[str]) -> str:
    return english.clause(clauses[slot[1]], _ENGLISH_ORDERS.get(slot[2], "plain"))


def _german(clauses: dict[str, Clause], slot: re.Match[str]) -> str:
    return german_clause.clause(clauses[slot[1]], cast(german_clause.Order, slot[2] or "main"))


def _finish(text: str) -> str:
    """Joins the commas of a clause that ends where another begins, and begins with a capital."""
    for double, single in ((",,", ","), (",.", "."), (",?", "?")):
        text = text.replace(double, single)
    return text[0].upper() + text[1:]
