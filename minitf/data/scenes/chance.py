"""The state of one sentence in the making: its random choices and what it speaks of already."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import TypeVar

from minitf.data.scenes.entries import Adjective, NameForms, Noun, Verb

T = TypeVar("T")
Combination = tuple[str, str]
"""An adjective or a verb (with `to`: to clean) and a noun that goes with it, in English."""


class Again(Exception):  # noqa: N818 - not an error: it never leaves the package
    """The choices made so far cannot be completed; the sentence is begun anew."""


class Draft:
    """One sentence in the making.

    All randomness comes from `random.Random.random`, whose sequence Python guarantees for a seed.
    """

    def __init__(self, rng: random.Random) -> None:
        self._random = rng.random
        self.used: set[Noun | NameForms] = set()
        self.combinations: list[Combination] = []

    def chance(self, probability: float) -> bool:
        """Whether something happens that has this probability."""
        return self._random() < probability

    def pick(self, items: Sequence[T]) -> T:
        """Draws one of the items, each as likely as any other.

        Raises:
            Again: if there are none.
        """
        if not items:
            raise Again
        return items[int(self._random() * len(items))]

    def noun(self, nouns: Sequence[Noun]) -> Noun:
        """Draws a noun that the sentence does not hold yet.

        Raises:
            Again: if the draw hits a noun that it holds.
        """
        return self._new(nouns)

    def name(self, names: Sequence[NameForms]) -> NameForms:
        """Draws a name that the sentence does not hold yet; raises Again as `noun` does."""
        return self._new(names)

    def _new(self, items: Sequence[T]) -> T:
        item = self.pick(items)
        if item in self.used:
            raise Again
        self.used.add(item)  # type: ignore[arg-type]
        return item

    def combine(self, head: Adjective | Verb, noun: Noun) -> None:
        """Notes that the adjective or verb goes with the noun in this sentence."""
        self.combinations.append(combination(head, noun))


@cache
def combination(head: Adjective | Verb, noun: Noun) -> Combination:
    """How the two are noted."""
    if isinstance(head, Adjective):
        return head.english, noun.english
    return f"to {head.english} {head.particle}".rstrip(), noun.english
