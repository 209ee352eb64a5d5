"""German words: declension of noun phrases and pronouns, conjugation of verbs.

The paradigms are those of any school grammar (Duden 4, Die Grammatik).
"""

from __future__ import annotations

from functools import cache

from minitf.data.scenes.entries import (
    Adjective,
    Agreement,
    Case,
    Determiner,
    Modal,
    Noun,
    Verb,
    Word,
)

Form = dict[Case, dict[str, str]]


def _paradigm(text: str) -> Form:
    """Reads four rows (nominative, accusative, dative, genitive) of m, f, n and plural."""
    cases: tuple[Case, ...] = ("nom", "acc", "dat", "gen")
    lines = [line.split() for line in text.strip().splitlines()]
    return {
        case: dict(zip("mfnp", ("" if form == "0" else form for form in line), strict=True))
        for case, line in zip(cases, lines, strict=True)
    }


DEFINITE = _paradigm("""
    der  die  das  die
    den  die  das  die
    dem  der  dem  den
    des  der  des  der
""")
DIESER = _paradigm("""
    er   e    es   e
    en   e    es   e
    em   er   em   en
    es   er   es   er
""")
EIN = _paradigm("""
    0    e    0    e
    en   e    0    e
    em   er   em   en
    es   er   es   er
""")
ADJECTIVE = {
    "strong": _paradigm("""
        er   e    es   e
        en   e    es   e
        em   er   em   en
        en   er   en   er
    """),
    "weak": _paradigm("""
        e    e    e    en
        en   e    e    en
        en   en   en   en
        en   en   en   en
    """),
    "mixed": _paradigm("""
        er   e    es   en
        en   e    es   en
        en   en   en   en
        en   en   en   en
    """),
}
RELATIVE = _paradigm("""
    der    die    das    die
    den    die    das    die
    dem    der    dem    denen
    dessen deren  dessen deren
""")
CONTRACTIONS = {
    "an dem": "am", "an das": "ans", "bei dem": "beim", "in dem": "im", "in das": "ins",
    "von dem": "vom", "zu dem": "zum", "zu der": "zur",
}  # fmt: skip
WHO: dict[Case, str] = {"nom": "wer", "acc": "wen", "dat": "wem", "gen": "wessen"}


@cache
def noun_form(noun: Noun, plural: bool, case: Case) -> str:
    """A noun in its case: genitive -s, dative plural -n, n-declension."""
    if plural:
        takes_n = case == "dat" and not noun.plural.endswith(("n", "s"))
        return noun.plural + "n" if takes_n else noun.plural
    if case == "gen" or (case != "nom" and "weak" in noun.tags):
        return noun.genitive
    return noun.german


@cache
def determiner_form(determiner: Determiner, gender: str, case: Case) -> str:
    """An article or other determiner; `gender` is m, f, n, or p for the plural."""
    match determiner.declension:
        case "der":
            return DEFINITE[case][gender]
        case "dieser":
            return determiner.stem + DIESER[case][gender]
        case "ein":
            if determiner.stem == "ein" and gender == "p":
                return ""
            return determiner.stem + EIN[case][gender]
        case _:
            return ""


@cache
def adjective_form(adjective: Adjective, kind: str, gender: str, case: Case) -> str:
    """An adjective before its noun; `kind` of endings is strong, weak or mixed."""
    return adjective.stem + ADJECTIVE[kind][case][gender]


@cache
def noun_phrase(
    determiner: Determiner,
    numeral: Word | None,
    adjective: Adjective | None,
    noun: Noun,
    plural: bool,
    case: Case,
) -> str:
    """Determiner, numeral, adjective and noun, which agree in gender, number and case."""
    gender = "p" if plural else noun.gender
    before = determiner_form(determiner, gender, case)
    kind = determiner.adjective if before else "strong"
    parts = (
        before,
        numeral.german if numeral else "",
        adjective_form(adjective, kind, gender, case) if adjective else "",
        noun_form(noun, plural, case),
    )
    return " ".join(filter(None, parts))


_FIRST_PERSON = {"sein": "bin", "mögen": "mag", "wissen": "weiß"}
_PRESENT_PLURAL = {"sein": "sind"}


@cache
def present(verb: Verb, agreement: Agreement) -> str:
    """Present tense, without the separable prefix."""
    if agreement == "3":
        return verb.present
    if agreement == "p":
        return _PRESENT_PLURAL.get(verb.infinitive, verb.infinitive)
    if verb.infinitive in _FIRST_PERSON:
        return _FIRST_PERSON[verb.infinitive]
    if verb.infinitive.endswith("eln"):
        return verb.infinitive[:-3] + "le"
    return verb.infinitive.removesuffix("n").removesuffix("e") + "e"


def preterite(third_person: str, agreement: Agreement) -> str:
    """Preterite, from its third person: war, waren; hatte, hatten."""
    if agreement != "p":
        return third_person
    return third_person + ("n" if third_person.endswith("e") else "en")


_AUXILIARIES: dict[str, dict[Agreement, str]] = {
    "hat": {"1": "habe", "3": "hat", "p": "haben"},
    "ist": {"1": "bin", "3": "ist", "p": "sind"},
    "wird": {"1": "werde", "3": "wird", "p": "werden"},
}


@cache
def verb_forms(
    verb: Verb, agreement: Agreement, tense: str, modal: Modal | None
) -> tuple[str, str, str]:
    """The finite verb, the separated prefix, and what ends the clause.

    Only one of prefix and end is not empty: liest · vor, or hat · vorgelesen.
    """
    infinitive = verb.prefix + verb.infinitive
    if modal is not None and not modal.is_adverb:
        if tense == "past":
            return preterite(modal.past, agreement), "", infinitive
        return (modal.plural if agreement == "p" else modal.singular), "", infinitive
    if tense == "future":
        return _AUXILIARIES["wird"][agreement], "", infinitive
    if tense == "past" and verb.past:
        return preterite(verb.past, agreement), verb.prefix, ""
    if tense == "past":
        return _AUXILIARIES[verb.auxiliary][agreement], "", verb.participle
    return present(verb, agreement), verb.prefix, ""
