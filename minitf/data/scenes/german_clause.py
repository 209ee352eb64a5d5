"""German phrases and clauses: which part stands where, and in which case.

The finite verb is second in a main clause, first in a question and after a clause that comes first,
and last in a subordinate clause; the rest of the verb ends the clause (the sentence bracket).
Between them stand pronouns, known objects, time, new objects, manner and place, in this order.
"""

from __future__ import annotations

from typing import Literal

from minitf.data.scenes.entries import Case, Determiner
from minitf.data.scenes.german import CONTRACTIONS, RELATIVE, WHO, noun_phrase, verb_forms
from minitf.data.scenes.lexicon import BARE, NO, A
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
    is_definite,
    leads,
    reference,
)

_WEATHER = ("regnen", "schneien")
"""'It is raining' is said without gerade: es regnet."""
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
    reflexive = _reflexive(c)
    inner = (subject, reflexive) if isinstance(c.subject, Pronoun) else (reflexive, subject)
    middle = _middle_field(c, with_time=not time_first)
    match order:
        case "main" if not lead and not time_first:
            parts = [subject, finite, reflexive, *middle, end or prefix]
        case "main" | "question" | "inverted":
            front = lead or (_time(c) if time_first else "")
            parts = [front, finite, *inner, *middle, end or prefix]
        case "final":
            parts = [lead, subject, reflexive, *middle, end, prefix + finite]
        case _:
            verb = c.verb.infinitive
            zu = f"{c.verb.prefix}zu{verb}" if c.verb.prefix else f"zu {verb}"
            parts = [reflexive, *middle, zu]
    return " ".join(filter(None, (*parts, _than(c.predicate))))


def _than(predicate: Predicate | None) -> str:
    """What something is compared with; it stands after the verb: dass er älter ist als ich."""
    than = predicate.than if predicate else None
    return f"als {nominal(than, 'nom')}" if than else ""


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

    pronouns: list[str] = []
    known: list[str] = []
    unknown: list[str] = []
    if isinstance(accusative, Pronoun):
        pronouns.append(accusative_text)
    elif accusative:
        negative = nicht or (c.time is not None and c.time.german == "nie")
        early = isinstance(accusative, Name) or (negative and not new)
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
        "gerade" if c.tense == "progressive" and c.verb.infinitive not in _WEATHER else "",
        "gern" if c.modal and c.modal.is_adverb else "",
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
        return predicate.adjective.german_comparative
    if predicate.degree is not None:
        return f"{predicate.degree.german} {predicate.adjective.german}"
    return predicate.adjective.german


def nominal(phrase: Nominal, case: Case, negated: bool = False) -> str:
    """Puts a nominal into its case; `negated` turns an indefinite one into kein."""
    match phrase:
        case NounPhrase():
            return _noun_phrase(phrase, case, negated)
        case Pronoun(forms=forms):
            return {"nom": forms.nominative, "acc": forms.accusative, "dat": forms.dative}[case]
        case Name(forms=forms):
            return forms.german + "s" if case == "gen" else forms.german
        case Couple(first=first, second=second):
            return f"{nominal(first, case)} und {nominal(second, case)}"
        case Relative(antecedent=antecedent):
            gender = "p" if antecedent.plural else antecedent.noun.gender
            return RELATIVE[case][gender]
        case Interrogative(person=person):
            return WHO[case] if person else "was"


def _noun_phrase(phrase: NounPhrase, case: Case, negated: bool) -> str:
    determiner = NO if negated else phrase.determiner
    owner = ""
    if isinstance(phrase.owner, Name):
        determiner = _NONE
        owner = nominal(phrase.owner, "gen") + " "
    text = owner + noun_phrase(
        determiner, phrase.numeral, phrase.adjective, phrase.noun, phrase.plural, case
    )
    if phrase.owner is not None and not owner:
        text += " " + nominal(phrase.owner, "gen")
    if phrase.relative is not None:
        text += f", {clause(phrase.relative, 'final')},"
    return text


_NONE = Determiner("", "", "", "", "strong")


def _contract(preposition: str, text: str) -> str:
    article, _, rest = text.partition(" ")
    contracted = CONTRACTIONS.get(f"{preposition} {article}")
    return f"{contracted} {rest}" if contracted else f"{preposition} {text}"


def adjunct(phrase: Adjunct) -> str:
    """A preposition with its nominal, contracted with the definite article: im, zur, ans."""
    return _contract(phrase.preposition.german, nominal(phrase.nominal, phrase.preposition.case))
