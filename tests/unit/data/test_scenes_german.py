"""German words and clauses against paradigms and sentences written by hand."""

from __future__ import annotations

import pytest

from minitf.data.scenes.entries import Case, Determiner
from minitf.data.scenes.german import (
    adjective_form,
    determiner_form,
    noun_form,
    noun_phrase,
    preterite,
    verb_forms,
)
from minitf.data.scenes.german_clause import Order, adjunct, clause, nominal
from minitf.data.scenes.lexicon import (
    ADJECTIVES,
    BARE,
    DETERMINER,
    HE,
    IT_N,
    MANNER,
    MODALS,
    NOUN,
    NOUNS,
    PEOPLE,
    PLACES,
    SHE,
    THE,
    THEY,
    TIMES,
    VERB,
    VERBS,
    A,
    I,
)
from minitf.data.scenes.phrases import (
    Adjunct,
    Clause,
    Interrogative,
    Name,
    NounPhrase,
    Predicate,
    Pronoun,
    Relative,
)

CASES: tuple[Case, ...] = ("nom", "acc", "dat", "gen")
ADJECTIVE = {adjective.english: adjective for adjective in ADJECTIVES}
NAME = {name.english: name for name in PEOPLE}
TIME = {time.english: time for time in TIMES}
MODAL = {modal.english: modal for modal in MODALS}


def _determiners(determiner: Determiner) -> list[str]:
    return [
        " ".join(determiner_form(determiner, gender, case) or "-" for gender in "mfnp")
        for case in CASES
    ]


@pytest.mark.parametrize(
    ("word", "paradigm"),
    [
        ("the", ["der die das die", "den die das die", "dem der dem den", "des der des der"]),
        ("a", ["ein eine ein -", "einen eine ein -", "einem einer einem -", "eines einer eines -"]),
        (
            "no",
            [
                "kein keine kein keine",
                "keinen keine kein keine",
                "keinem keiner keinem keinen",
                "keines keiner keines keiner",
            ],
        ),
        (
            "our",
            [
                "unser unsere unser unsere",
                "unseren unsere unser unsere",
                "unserem unserer unserem unseren",
                "unseres unserer unseres unserer",
            ],
        ),
        (
            "this",
            [
                "dieser diese dieses diese",
                "diesen diese dieses diese",
                "diesem dieser diesem diesen",
                "dieses dieser dieses dieser",
            ],
        ),
    ],
)
def test_determiners_are_declined(word: str, paradigm: list[str]) -> None:
    assert _determiners(DETERMINER[word]) == paradigm


PHRASES = """
# determiner, noun, number: nominative, accusative, dative, genitive
the dog s: der gute Hund, den guten Hund, dem guten Hund, des guten Hundes
the cat s: die gute Katze, die gute Katze, der guten Katze, der guten Katze
the book s: das gute Buch, das gute Buch, dem guten Buch, des guten Buches
the book p: die guten Bücher, die guten Bücher, den guten Büchern, der guten Bücher
a dog s: ein guter Hund, einen guten Hund, einem guten Hund, eines guten Hundes
a cat s: eine gute Katze, eine gute Katze, einer guten Katze, einer guten Katze
a book s: ein gutes Buch, ein gutes Buch, einem guten Buch, eines guten Buches
my cat p: meine guten Katzen, meine guten Katzen, meinen guten Katzen, meiner guten Katzen
0 tea s: guter Tee, guten Tee, gutem Tee, guten Tees
0 milk s: gute Milch, gute Milch, guter Milch, guter Milch
0 bread s: gutes Brot, gutes Brot, gutem Brot, guten Brotes
0 dog p: gute Hunde, gute Hunde, guten Hunden, guter Hunde
many car p: viele gute Autos, viele gute Autos, vielen guten Autos, vieler guter Autos
all car p: alle guten Autos, alle guten Autos, allen guten Autos, aller guten Autos
the boy s: der gute Junge, den guten Jungen, dem guten Jungen, des guten Jungen
a neighbour s: ein guter Nachbar, einen guten Nachbarn, einem guten Nachbarn, eines guten Nachbarn
the student p: die guten Studenten, die guten Studenten, den guten Studenten, der guten Studenten
"""


@pytest.mark.parametrize("row", PHRASES.strip().splitlines()[1:])
def test_noun_phrases_are_declined(row: str) -> None:
    """Weak, mixed and strong endings, plurals, and the n-declension."""
    said, _, paradigm = row.partition(": ")
    word, noun, number = said.split()
    determiner = BARE if word == "0" else DETERMINER[word]
    forms = [
        noun_phrase(determiner, None, ADJECTIVE["good"], NOUN[noun], number == "p", case)
        for case in CASES
    ]
    assert ", ".join(forms) == paradigm


@pytest.mark.parametrize(
    ("english", "form"),
    [("expensive", "teurer"), ("dark", "dunkler"), ("high", "hoher"), ("tired", "müder"),
     ("clean", "sauberer"), ("delicious", "leckerer")],
)  # fmt: skip
def test_adjectives_whose_stem_changes(english: str, form: str) -> None:
    assert adjective_form(ADJECTIVE[english], "strong", "m", "nom") == form


def test_dative_plural_ends_in_n_or_s() -> None:
    plurals = [noun_form(noun, True, "dat") for noun in NOUNS if noun.plural]
    assert len(plurals) > 200
    assert all(plural.endswith(("n", "s")) for plural in plurals)


def test_genitives_are_those_of_their_gender() -> None:
    for noun in NOUNS:
        if noun.gender == "f":
            assert noun.genitive == noun.german, noun
        elif "weak" in noun.tags:
            assert noun.genitive.endswith("n"), noun
            assert noun.genitive == noun.plural, noun
        else:
            assert noun.genitive.endswith("s"), noun


@pytest.mark.parametrize(
    ("english", "german", "forms"),
    [  # ich, er, wir; er in the past; er in the future
        ("read", "lesen", "lese liest lesen | hat gelesen | wird lesen"),
        ("give", "geben", "gebe gibt geben | hat gegeben | wird geben"),
        ("run", "laufen", "laufe läuft laufen | ist gelaufen | wird laufen"),
        ("sleep", "schlafen", "schlafe schläft schlafen | hat geschlafen | wird schlafen"),
        ("work", "arbeiten", "arbeite arbeitet arbeiten | hat gearbeitet | wird arbeiten"),
        ("climb", "klettern", "klettere klettert klettern | ist geklettert | wird klettern"),
        ("smile", "lächeln", "lächle lächelt lächeln | hat gelächelt | wird lächeln"),
        ("feed", "füttern", "füttere füttert füttern | hat gefüttert | wird füttern"),
        ("open", "öffnen", "öffne öffnet öffnen | hat geöffnet | wird öffnen"),
        ("be", "sein", "bin ist sind | war | wird sein"),
        ("have", "haben", "habe hat haben | hatte | wird haben"),
        ("like", "mögen", "mag mag mögen | mochte | wird mögen"),
        ("know", "wissen", "weiß weiß wissen | wusste | wird wissen"),
        ("invite", "einladen", "lade·ein lädt·ein laden·ein | hat eingeladen | wird einladen"),
        ("tidy|up", "aufräumen",
         "räume·auf räumt·auf räumen·auf | hat aufgeräumt | wird aufräumen"),
        ("get_up", "aufstehen",
         "stehe·auf steht·auf stehen·auf | ist aufgestanden | wird aufstehen"),
        ("read", "vorlesen", "lese·vor liest·vor lesen·vor | hat vorgelesen | wird vorlesen"),
    ],
)  # fmt: skip
def test_verbs_are_conjugated(english: str, german: str, forms: str) -> None:
    verb = VERB[english, german]
    present = [verb_forms(verb, person, "present", None) for person in ("1", "3", "p")]
    made = [
        " ".join("·".join(filter(None, forms)) for forms in present),
        " ".join(filter(None, verb_forms(verb, "3", "past", None))),
        " ".join(filter(None, verb_forms(verb, "3", "future", None))),
    ]
    assert " | ".join(made) == forms


def test_preterites_take_their_plural() -> None:
    assert [preterite(form, "p") for form in ("war", "hatte", "saß", "konnte")] == [
        "waren",
        "hatten",
        "saßen",
        "konnten",
    ]


def test_participles_fit_their_prefixes() -> None:
    """The participle of a separable verb has -ge- after the prefix; -ieren and ver- have no ge-."""
    for verb in VERBS:
        if verb.prefix:
            assert verb.participle.startswith(verb.prefix), verb
        inseparable = verb.infinitive.startswith(("be", "ver", "er", "ent", "emp", "unter", "ge"))
        without_ge = inseparable or verb.infinitive.endswith("ieren")
        if verb.participle and not (without_ge or verb.infinitive in ("geben", "gehen")):
            assert verb.participle.removeprefix(verb.prefix).startswith("ge"), verb


def the(noun: str, adjective: str | None = None, plural: bool = False) -> NounPhrase:
    return NounPhrase(
        THE, NOUN[noun], plural, ADJECTIVE[adjective] if adjective is not None else None
    )


@pytest.mark.parametrize(
    ("noun", "kind", "at", "to", "source"),
    [
        ("kitchen", "home", "in der Küche", "in die Küche", "aus der Küche"),
        ("house", "home", "im Haus", "ins Haus", "aus dem Haus"),
        ("station", "travel", "am Bahnhof", "zum Bahnhof", "vom Bahnhof"),
        ("school", "work", "in der Schule", "zur Schule", "aus der Schule"),
        ("window", "window", "am Fenster", "ans Fenster", "vom Fenster"),
        ("market", "shop", "auf dem Markt", "zum Markt", "vom Markt"),
        ("wall", "hanging", "an der Wand", "an die Wand", "von der Wand"),
    ],
)
def test_two_way_prepositions_and_contractions(
    noun: str, kind: str, at: str, to: str, source: str
) -> None:
    place = next(each for each in PLACES if each.noun is NOUN[noun] and kind in each.kinds)
    phrases = [adjunct(Adjunct(p, the(noun))) for p in (place.at, place.to, place.source)]
    assert phrases == [at, to, source]


def test_owners_stand_in_the_genitive() -> None:
    of_boy = NounPhrase(THE, NOUN["dog"], adjective=ADJECTIVE["old"], owner=the("boy"))
    of_anna = NounPhrase(THE, NOUN["dog"], adjective=ADJECTIVE["old"], owner=Name(NAME["Anna"]))
    assert nominal(of_boy, "dat") == "dem alten Hund des Jungen"
    assert nominal(of_anna, "nom") == "Annas alter Hund"
    assert nominal(of_anna, "dat") == "Annas altem Hund"


ANNA = Name(NAME["Anna"])
READ = VERB["read", "lesen"]
GIVE = VERB["give", "geben"]
TIDY = VERB["tidy|up", "aufräumen"]
REST = VERB["rest", "ausruhen"]
GO = VERB["go", "gehen"]
HOUSE = next(place for place in PLACES if place.noun is NOUN["house"])
GARDEN = next(place for place in PLACES if place.noun is NOUN["garden"])
A_BOOK = NounPhrase(A, NOUN["book"])


@pytest.mark.parametrize(
    ("said", "order", "german"),
    [
        (Clause(ANNA, READ, accusative=A_BOOK), "main", "Anna liest ein Buch"),
        (Clause(ANNA, READ, accusative=A_BOOK), "question", "liest Anna ein Buch"),
        (Clause(ANNA, READ, accusative=A_BOOK), "final", "Anna ein Buch liest"),
        (Clause(ANNA, READ, accusative=A_BOOK), "infinitive", "ein Buch zu lesen"),
        (
            Clause(ANNA, READ, accusative=A_BOOK, time=TIME["every day"], time_first=True),
            "main",
            "jeden Tag liest Anna ein Buch",
        ),
        (
            Clause(ANNA, READ, "past", accusative=A_BOOK, time=TIME["yesterday"]),
            "main",
            "Anna hat gestern ein Buch gelesen",
        ),
        (
            Clause(ANNA, READ, "past", accusative=A_BOOK, place=Adjunct(GARDEN.at, the("garden"))),
            "final",
            "Anna im Garten ein Buch gelesen hat",
        ),
        (
            Clause(ANNA, READ, "past", accusative=the("book"),
                   place=Adjunct(GARDEN.at, the("garden"))),
            "main",
            "Anna hat das Buch im Garten gelesen",
        ),
        (
            Clause(ANNA, READ, negated=True, accusative=A_BOOK),
            "main",
            "Anna liest kein Buch",
        ),
        (
            Clause(ANNA, READ, "past", negated=True, accusative=the("book"),
                   time=TIME["yesterday"]),
            "main",
            "Anna hat das Buch gestern nicht gelesen",
        ),
        (
            Clause(ANNA, READ, "progressive", accusative=the("book")),
            "main",
            "Anna liest gerade das Buch",
        ),
        (
            Clause(Pronoun(I), GIVE, dative=the("child"), accusative=A_BOOK),
            "main",
            "ich gebe dem Kind ein Buch",
        ),
        (
            Clause(Pronoun(HE), GIVE, dative=Pronoun(SHE), accusative=A_BOOK,
                   time=TIME["yesterday"], tense="past"),
            "main",
            "er hat ihr gestern ein Buch gegeben",
        ),
        (Clause(ANNA, TIDY, accusative=the("room")), "main", "Anna räumt das Zimmer auf"),
        (Clause(ANNA, TIDY, accusative=the("room")), "final", "Anna das Zimmer aufräumt"),
        (Clause(ANNA, TIDY, accusative=the("room")), "infinitive", "das Zimmer aufzuräumen"),
        (
            Clause(ANNA, TIDY, modal=MODAL["want"], accusative=the("room")),
            "main",
            "Anna will das Zimmer aufräumen",
        ),
        (
            Clause(Pronoun(THEY), READ, modal=MODAL["like"],
                   accusative=NounPhrase(BARE, NOUN["book"], True)),
            "main",
            "sie lesen gern Bücher",
        ),
        (
            Clause(the("woman"), REST, "past", reflexive=True, time=TIME["yesterday"],
                   time_first=True),
            "main",
            "gestern hat sich die Frau ausgeruht",
        ),
        (
            Clause(Pronoun(SHE), REST, reflexive=True, manner=MANNER["quietly"]),
            "inverted",
            "ruht sie sich leise aus",
        ),
        (
            Clause(the("boy"), GO, "past", negated=True,
                   complement=Adjunct(HOUSE.to, the("house"))),
            "final",
            "der Junge nicht ins Haus gegangen ist",
        ),
        (
            Clause(Interrogative(True), READ, accusative=the("book")),
            "question",
            "wer liest das Buch",
        ),
        (
            Clause(ANNA, VERB["help", "helfen"], "past", dative=Interrogative(True)),
            "question",
            "wem hat Anna geholfen",
        ),
        (
            Clause(Pronoun(IT_N), VERB["be", "sein"], "past",
                   predicate=Predicate(ADJECTIVE["old"])),
            "final",
            "es alt war",
        ),
        (
            Clause(the("table"), VERB["be", "sein"],
                   predicate=Predicate(ADJECTIVE["old"], than=the("chair"))),
            "main",
            "der Tisch ist älter als der Stuhl",
        ),
        (
            Clause(the("table"), VERB["be", "sein"],
                   predicate=Predicate(ADJECTIVE["old"], than=the("chair"))),
            "final",
            "der Tisch älter ist als der Stuhl",
        ),
        (
            Clause(ANNA, VERB["be", "sein"], negated=True,
                   predicate=Predicate(
                       kind=NounPhrase(A, NOUN["nurse"], adjective=ADJECTIVE["good"]))),
            "main",
            "Anna ist keine gute Krankenschwester",
        ),
    ],
)  # fmt: skip
def test_clauses_are_ordered(said: Clause, order: Order, german: str) -> None:
    assert clause(said, order) == german


def test_relative_pronouns_agree_with_their_antecedent() -> None:
    sleeping = {}
    for noun, plural in (("man", False), ("woman", False), ("child", False), ("child", True)):
        phrase = the(noun, plural=plural)
        phrase.relative = Clause(
            Relative(phrase), VERB["sleep", "schlafen"], place=Adjunct(GARDEN.at, the("garden"))
        )
        sleeping[noun, plural] = nominal(phrase, "nom")
    assert list(sleeping.values()) == [
        "der Mann, der im Garten schläft,",
        "die Frau, die im Garten schläft,",
        "das Kind, das im Garten schläft,",
        "die Kinder, die im Garten schlafen,",
    ]
