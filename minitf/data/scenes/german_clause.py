"""German clauses: which part stands where.

The finite verb is second in a main clause, first in a question and after a clause that comes first,
and last in a subordinate clause; the rest of the verb ends the clause (the sentence bracket). Between
them stand pronouns, known objects, time, new objects, manner and place, in this order.
"""

from __future__ import annotations

from typing import Literal

from minitf.data.scenes.german import adjunct, nominal, verb_forms
from minitf.data.scenes.lexicon import A, BARE, Case
from minitf.data.scenes.phrases import (
    Clause, Name, Nominal, NounPhrase, Predicate, Pronoun, agreement, is_definite, leads, reference,
)  # fmt: skip

Order = Literal["main", "question", "inverted", "final", "infinitive"]


def clause(c: Clause, order: Order = "main") -> str:
    """Puts a clause into words, without capital letter and full stop.

    Args:
        c: what is said.
        order: `main` (verb second), `question` (first, after a question word if there is one),
            `inverted` (first), `final`, or `infinitive` (with zu, without subject).
    """
    finite, prefix, end = verb_forms(c.verb, agreement(c.subject), c.tense, c.modal)
    lead = _lead(c)
    subject = "" if leads(c.subject) else nominal(c.subject, "nom")
    time_first = order == "main" and c.time_first and not lead
    middle = _middle_field(c, with_time=not time_first)
    match order:
        case "main":
            front = lead or (_time(c) if time_first else subject)
            after = "" if front == subject else subject
            parts = [front, finite, after, *middle, end or prefix]
        case "question" | "inverted":
            parts = [lead, finite, subject, *middle, end or prefix]
        case "final":
            parts = [lead, subject, *middle, end, prefix + finite]
        case "infinitive":
            verb = c.verb.infinitive
            parts = [*middle, f"{c.verb.prefix}zu{verb}" if c.verb.prefix else f"zu {verb}"]
    return " ".join(filter(None, parts))


def _lead(c: Clause) -> str:
    """The question word or relative pronoun that stands first."""
    if c.asks is not None:
        return c.asks.german
    for phrase, case in _arguments(c):
        if leads(phrase):
            return nominal(phrase, case)
    return ""


def _arguments(c: Clause) -> list[tuple[Nominal, Case]]:
    arguments: list[tuple[Nominal, Case]] = [(c.subject, "nom")]
    if c.accusative is not None:
        arguments.append((c.accusative, "acc"))
    if c.dative is not None:
        arguments.append((c.dative, "dat"))
    return arguments


def _middle_field(c: Clause, with_time: bool) -> list[str]:
    dative = _object(c.dative)
    accusative = _object(c.accusative)
    kein = c.negated and (_turns_to_kein(accusative) or _kind_of(c.predicate) is not None)
    nicht = c.negated and not kein
    new = accusative is not None and not is_definite(accusative)
    dative_text = nominal(dative, "dat") if dative else ""
    accusative_text = nominal(accusative, "acc", kein) if accusative else ""
    place = adjunct(c.place) if c.place else ""
    companion = adjunct(c.companion) if c.companion else ""
    time = _time(c) if with_time else ""

    pronouns, known, unknown = [_reflexive(c)], [], []
    if isinstance(accusative, Pronoun):
        pronouns.append(accusative_text)
    elif accusative:
        early = isinstance(accusative, Name) or (nicht and not new)
        (known if early else unknown).append(accusative_text)
    if isinstance(dative, Pronoun):
        pronouns.append(dative_text)
    elif dative:
        known.insert(0, dative_text)
    settings = [companion, place]
    manner = c.manner.german if c.manner else ""
    return [
        *pronouns,
        *known,
        time,
        "gerade" if c.tense == "progressive" else "",
        "gern" if c.modal and c.modal.singular == "gern" else "",
        *((*settings, manner) if new else ()),
        *unknown,
        "nicht" if nicht else "",
        *(() if new else (manner, *settings)),
        adjunct(c.complement) if c.complement else "",
        _predicate(c.predicate, kein) if c.predicate else "",
    ]


def _object(phrase: Nominal | None) -> Nominal | None:
    """An object that stands in the middle field, not in front."""
    return None if phrase is None or leads(phrase) else phrase


def _turns_to_kein(phrase: Nominal | None) -> bool:
    return (
        isinstance(phrase, NounPhrase)
        and phrase.determiner in (A, BARE)
        and not (phrase.owner or phrase.numeral)
    )


def _kind_of(predicate: Predicate | None) -> NounPhrase | None:
    return predicate.kind if predicate else None


def _reflexive(c: Clause) -> str:
    if not c.reflexive:
        return ""
    forms = reference(c.subject)
    return forms.reflexive if forms else "sich"


def _time(c: Clause) -> str:
    if c.occasion is not None:
        return adjunct(c.occasion)
    return c.time.german if c.time else ""


def _predicate(predicate: Predicate, kein: bool) -> str:
    if predicate.words is not None:
        return predicate.words.german
    if predicate.kind is not None:
        return nominal(predicate.kind, "nom", kein)
    assert predicate.adjective is not None
    if predicate.than is not None:
        return f"{predicate.adjective.german_comparative} als {nominal(predicate.than, 'nom')}"
    if predicate.degree is not None:
        return f"{predicate.degree.german} {predicate.adjective.german}"
    return predicate.adjective.german
