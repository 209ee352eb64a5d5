"""Draws sentences: a template, its clauses, and the text in both languages."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from minitf.data.scenes import english, german
from minitf.data.scenes.chance import Combination, Draft, Retry
from minitf.data.scenes.clauses import PLAIN, Wish, action, description
from minitf.data.scenes.english import clause as english_clause
from minitf.data.scenes.german_clause import clause as german_clause
from minitf.data.scenes.lexicon import Frame
from minitf.data.scenes.phrases import Clause
from minitf.data.scenes.tables import rows


@dataclass(frozen=True, slots=True)
class Sentence:
    """A pair of sentences and the combinations that the compositional split holds out."""

    english: str
    german: str
    combinations: tuple[Combination, ...]


def statement(draft: Draft) -> Clause:
    if draft.chance(0.16):
        return description(draft)
    return action(draft, draft.pick(PLAIN))


def sentence(rng: random.Random) -> Sentence:
    while True:
        draft = Draft(rng)
        try:
            c = statement(draft)
        except Retry:
            continue
        return Sentence(
            _finish(english_clause(c) + "."), _finish(german_clause(c) + "."),
            tuple(draft.combinations),
        )


def _finish(text: str) -> str:
    text = text.replace(",,", ",").replace(",.", ".").replace(",?", "?")
    return text[0].upper() + text[1:]
