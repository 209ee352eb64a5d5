"""English: noun phrases, verb forms and clauses."""

from __future__ import annotations

from functools import cache
from typing import Literal

from minitf.data.scenes.entries import Adjective, Agreement, Determiner, Noun, Word
from minitf.data.scenes.phrases import (
    Adjunct,
    Clause,
    Couple,
    Interrogative,
    Name,
    Nominal,
    NounPhrase,
    Predicate,
    Pronoun,
    Relative,
    agreement,
    leads,
)

Order = Literal["plain", "question", "infinitive"]

_BE: dict[str, dict[Agreement, str]] = {
    "present": {"1": "am", "3": "is", "p": "are"},
    "past": {"1": "was", "3": "was", "p": "were"},
}
_AN_BEFORE_CONSONANT = ("hour", "honest")
_A_BEFORE_VOWEL = ("uniform", "university", "European", "useful")


@cache
def third_person(verb: str) -> str:
    """Third person singular of a verb; of its first word, where it has several.

    >>> third_person("go"), third_person("carry"), third_person("play"), third_person("look for")
    ('goes', 'carries', 'plays', 'looks for')
    """
    first, _, rest = verb.partition(" ")
    if first == "have":
        first = "has"
    elif first.endswith("y") and first[-2] not in "aeiou":
        first = first[:-1] + "ies"
    elif first.endswith(("s", "x", "z", "ch", "sh", "o")):
        first += "es"
    else:
        first += "s"
    return f"{first} {rest}" if rest else first


def with_article(text: str) -> str:
    """`a` or `an` before it, by its sound.

    >>> with_article("old hat"), with_article("university")
    ('an old hat', 'a university')
    """
    if text.startswith(_AN_BEFORE_CONSONANT):
        return "an " + text
    vowel = text[0] in "aeiouAEIOU" and not text.startswith(_A_BEFORE_VOWEL)
    return f"{'an' if vowel else 'a'} {text}"


@cache
def _common(
    determiner: Determiner | None,
    numeral: Word | None,
    adjective: Adjective | None,
    noun: Noun,
    plural: bool,
) -> str:
    parts = (
        numeral.english if numeral else "",
        adjective.english if adjective else "",
        noun.english_plural if plural else noun.english,
    )
    text = " ".join(filter(None, parts))
    if determiner is None:
        return text
    word = determiner.english_plural if plural else determiner.english
    if word == "a":
        return with_article(text)
    return f"{word} {text}" if word else text


def nominal(phrase: Nominal, subject: bool = False) -> str:
    """Puts a nominal into words; `subject` chooses I or me."""
    match phrase:
        case NounPhrase():
            return _noun_phrase(phrase)
        case Pronoun(forms=forms):
            return forms.english if subject else forms.english_object
        case Name(forms=forms):
            return forms.english
        case Couple(first=first, second=second):
            return f"{nominal(first, subject)} and {nominal(second, subject)}"
        case Relative(antecedent=antecedent):
            return "who" if "person" in antecedent.noun.tags else "that"
        case Interrogative(person=person):
            return "who" if person else "what"


def _noun_phrase(phrase: NounPhrase) -> str:
    common = (phrase.numeral, phrase.adjective, phrase.noun, phrase.plural)
    if phrase.owner is None:
        text = _common(phrase.determiner, *common)
    elif phrase.part:
        text = f"{_common(phrase.determiner, *common)} of {nominal(phrase.owner)}"
    else:
        text = f"{_possessive(nominal(phrase.owner))} {_common(None, *common)}"
    if phrase.relative is not None:
        text += " " + clause(phrase.relative)
    return text


def _possessive(owner: str) -> str:
    return owner + "'s"  # owners are singular


def adjunct(phrase: Adjunct) -> str:
    """A preposition with its nominal."""
    return f"{phrase.preposition.english} {nominal(phrase.nominal)}".lstrip()


def clause(c: Clause, order: Order = "plain") -> str:
    """Puts a clause into words, without capital letter and full stop."""
    lead = _lead(c)
    asks = order == "question" and not leads(c.subject)
    operator, lexical = _verb_group(c, asks)
    if order == "infinitive":
        return _join("to", *_after_subject(c, "", c.verb.english))
    subject = "" if leads(c.subject) else nominal(c.subject, subject=True)
    front = _time(c) if c.time_first and not lead else ""
    if asks:
        return _join(front, lead, operator, subject, *_after_subject(c, "", lexical))
    return _join(front, lead, subject, *_after_subject(c, operator, lexical))


def _join(*parts: str) -> str:
    return " ".join(filter(None, parts))


def _lead(c: Clause) -> str:
    if c.asks is not None:
        return c.asks.english
    for phrase in (c.subject, c.accusative, c.dative):
        if phrase is not None and leads(phrase):
            return nominal(phrase, subject=True)
    return ""


def _verb_group(c: Clause, asks: bool) -> tuple[str, str]:
    """The operator (is, will, can, does; empty where there is none) and the rest of the verb."""
    person = agreement(c.subject)
    base = c.verb.english
    finite, tail = base, ""
    if c.modal is not None:
        modal = c.modal
        tail = _join(modal.tail, base)
        if modal.kind == "aux":
            return (modal.english_past if c.tense == "past" else modal.english), tail
        if modal.kind == "be":
            return _BE[c.tense][person], tail
        finite = modal.english
    elif c.tense == "future":
        return "will", base
    elif c.tense == "progressive":
        return _BE["present"][person], c.verb.english_ing
    elif base == "be":
        return _BE[c.tense][person], ""
    if asks or c.negated:
        operator = "did" if c.tense == "past" else "does" if person == "3" else "do"
        return operator, _join(finite, tail)
    if c.tense == "past":
        return "", _join(c.modal.english_past if c.modal else c.verb.english_past, tail)
    return "", _join(third_person(finite) if person == "3" else finite, tail)


def _after_subject(c: Clause, operator: str, lexical: str) -> list[str]:
    often = c.time is not None and c.time.scale == "often"
    negation = "not" if c.negated else ""
    if operator == "can" and c.negated:
        operator, negation = "cannot", ""
    dative = "" if c.dative is None or leads(c.dative) else nominal(c.dative)
    accusative = "" if c.accusative is None or leads(c.accusative) else nominal(c.accusative)
    objects = [accusative, _join("to", dative)] if c.to_dative else [dative, accusative]
    if isinstance(c.accusative, Pronoun):
        objects.append(c.verb.particle)
    else:
        objects.insert(0, c.verb.particle)
    return [
        operator,
        negation,
        c.time.english if c.time and often else "",
        lexical,
        *objects,
        _predicate(c.predicate) if c.predicate else "",
        c.manner.english if c.manner else "",
        adjunct(c.companion) if c.companion else "",
        adjunct(c.complement) if c.complement else "",
        adjunct(c.place) if c.place else "",
        "" if often or c.time_first else _time(c),
    ]


def _time(c: Clause) -> str:
    if c.occasion is not None:
        return adjunct(c.occasion)
    return c.time.english if c.time else ""


def _predicate(predicate: Predicate) -> str:
    if predicate.words is not None:
        return predicate.words.english
    if predicate.kind is not None:
        return nominal(predicate.kind)
    assert predicate.adjective is not None
    if predicate.than is not None:
        return f"{predicate.adjective.english_comparative} than {nominal(predicate.than)}"
    if predicate.degree is not None:
        return f"{predicate.degree.english} {predicate.adjective.english}"
    return predicate.adjective.english
