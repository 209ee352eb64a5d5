"""Tables: values come through exactly as they stand, faults are named with file and row."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minitf.config.compose import compose_config
from minitf.config.errors import UserError
from minitf.config.schema import EmptyLines, TableConfig
from minitf.data import load_data
from minitf.data.table import read_csv

PAIRS = [
    ("NA", "null"),
    ("None", "2024-01-31"),
    ('say "hi", now', "1.0"),
    (" two\nlines ", "a\u2028b\x85c"),
    ("nan", "true"),
]


def written(path: Path, pairs: list[tuple[str, str]] = PAIRS) -> Path:
    """The pairs in the format that the path's name says, beside a column of numbers."""
    name = path.name.removesuffix(".gz")
    if name.endswith("parquet"):
        columns = {"src": [s for s, _ in pairs], "n": list(range(len(pairs)))}
        open_parquet = gzip.open if path.name.endswith(".gz") else open
        with open_parquet(path, "wb") as file:
            pq.write_table(pa.table(columns | {"tgt": [t for _, t in pairs]}), file)
        return path
    open_ = gzip.open if path.name.endswith(".gz") else open
    with open_(path, "wt", encoding="utf-8", newline="") as file:
        if name.endswith("jsonl"):
            for n, (s, t) in enumerate(pairs):
                file.write(json.dumps({"src": s, "n": n, "tgt": t}, ensure_ascii=False) + "\n")
        elif name.endswith("tsv"):
            file.write(
                "src\tn\ttgt\n" + "".join(f"{s}\t{n}\t{t}\n" for n, (s, t) in enumerate(pairs))
            )
        else:
            numbered = [(s, n, t) for n, (s, t) in enumerate(pairs)]
            csv.writer(file).writerows([("src", "n", "tgt"), *numbered])
    return path


def load(path: Path, **options: Any) -> list[tuple[str, str]]:
    data = load_data(TableConfig(root=str(path.parent), train=path.name, val=path.name, **options))
    return list(zip(data["train"]["src"], data["train"]["tgt"], strict=True))


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.parquet", "a.parquet.gz"]
)
def test_values_are_taken_exactly(tmp_path: Path, name: str) -> None:
    assert load(written(tmp_path / name)) == PAIRS


def test_a_torn_parquet_gz_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet.gz")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match=r"a\.parquet\.gz is not a whole parquet file: "):
        load(path)


def test_quotes_in_tsv_are_ordinary(tmp_path: Path) -> None:
    pairs = [('"so', 'er "sagt" es'), ("it's 5\"", "'")]
    assert load(written(tmp_path / "a.tsv", pairs)) == pairs


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(*[st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))] * 2)
    )
)
def test_any_csv_comes_back(tmp_path: Path, pairs: list[tuple[str, str]]) -> None:
    columns = read_csv(written(tmp_path / "a.csv", pairs), "src", "tgt")
    assert list(zip(columns.src, columns.tgt, strict=True)) == pairs


def test_columns_have_the_names_given(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("de,en\nja,yes\n")
    assert load(tmp_path / "a.csv", src="en", tgt="de") == [("yes", "ja")]


def test_format_overrides_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text('{"src": "yes", "tgt": "ja"}\n')
    assert load(tmp_path / "a.txt", format="jsonl") == [("yes", "ja")]
    (tmp_path / "b.txt").write_text('src\ttgt\n"yes\tja\n')
    assert load(tmp_path / "b.txt", format="tsv") == [('"yes', "ja")]


def test_blank_lines_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('\n{"src": "yes", "tgt": "ja"}\n\n')
    assert load(tmp_path / "a.jsonl") == [("yes", "ja")]
    (tmp_path / "a.csv").write_text("src,tgt\n\nyes,ja\n\n")
    assert load(tmp_path / "a.csv") == [("yes", "ja")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_nulls_are_empty_and_can_be_skipped(tmp_path: Path, name: str) -> None:
    written(tmp_path / name, [("yes", "ja"), ("no", None)])  # type: ignore[list-item]
    assert load(tmp_path / name, empty_lines=EmptyLines.skip) == [("yes", "ja")]
    place = ", row 2" if name == "a.parquet" else ":2"
    with pytest.raises(UserError, match=rf"^{tmp_path}/{name}{place}: column 'tgt' is empty; put"):
        load(tmp_path / name)


def test_dictionary_encoded_parquet_is_text(tmp_path: Path) -> None:
    texts = pa.array(["a", "b", "a"]).dictionary_encode()
    pq.write_table(pa.table({"src": texts, "tgt": texts}), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet") == [("a", "a"), ("b", "b"), ("a", "a")]


def test_test_splits_have_the_names_given(tmp_path: Path) -> None:
    written(tmp_path / "a.csv")
    config = TableConfig(root=str(tmp_path), train="a.csv", val="a.csv", tests={"news": "a.csv"})
    assert list(load_data(config)) == ["train", "val", "news"]


BROKEN = {
    "a column that is not there": (
        "a.jsonl",
        b'{"en": "yes", "de": "ja"}\n',
        "{path}:1 has no column 'src'; it has en, de; set data.src and data.tgt to two of them",
    ),
    "a csv column that is not there": (
        "a.csv",
        b"src,target\nyes,ja\n",
        "{path} has no column 'tgt'; it has src, target; set data.src and data.tgt to two of them; "
        "a file whose first row names no columns needs such a row",
    ),
    "a column twice": (
        "a.csv",
        b"src,tgt,src\nyes,ja,no\n",
        "{path} has 2 columns 'src'; names must differ",
    ),
    "a number": (
        "a.jsonl",
        b'{"src": "a", "tgt": "b"}\n{"src": "yes", "tgt": 7}\n',
        "{path}:2: column 'tgt' must hold text, got a number: 7",
    ),
    "an object": (
        "a.jsonl",
        b'{"src": {"en": "yes"}, "tgt": "ja"}\n',
        '{path}:1: column \'src\' must hold text, got an object: {{"en": "yes"}}',
    ),
    "an array of texts": (
        "a.json",
        b'["yes", "ja"]\n',
        '{path}, row 1: must be an object such as {{"src": …, "tgt": …}}, got text: "yes"',
    ),
    "arrays": (
        "a.jsonl",
        b'["yes", "ja"]\n["no", "nein"]\n',
        "{path}: not JSON, Extra data: line 2 column 1 (char 14); a file that begins with [ holds "
        "one array of objects",
    ),
    "columns in an object": (
        "a.jsonl",
        b'{"id": 1, "translation": {"en": "yes", "de": "ja"}}\n',
        "{path}:1 has no column 'src'; it has id, translation.en, translation.de; set data.src and "
        "data.tgt to two of them",
    ),
    "semicolons": (
        "a.csv",
        b"src;tgt\nyes;ja\n",
        "{path} has no column 'src'; it has src;tgt; its fields seem to be separated by ';': "
        "write commas",
    ),
    "tabs": (
        "a.csv",
        b"src\ttgt\nyes\tja\n",
        "{path} has no column 'src'; it has src\ttgt; its fields seem to be separated by '\\t': "
        "set data.format=tsv",
    ),
    "a space": (
        "a.csv",
        b"src, tgt\nyes, ja\n",
        "{path} has no column 'tgt'; it has src,  tgt; spaces are part of a text: remove those "
        "around the names, and around the texts",
    ),
    "quotes in tsv": (
        "a.tsv",
        b'"src"\t"tgt"\n"yes"\t"ja"\n',
        '{path} has no column \'src\'; it has "src", "tgt"; quotes are part of a text in tsv: '
        "write the file without them, or as csv",
    ),
    "carriage returns in tsv": (
        "a.tsv",
        b"src\ttgt\ryes\tja\r",
        "{path}:1: a carriage return ends no line: end lines with \\n, for example with "
        "tr '\\r' '\\n'",
    ),
    "carriage returns": (
        "a.csv",
        b"src,tgt\ryes,ja\r",
        "{path}:1: a carriage return ends no line: end lines with \\n, for example with "
        "tr '\\r' '\\n', or quote the field",
    ),
    "not JSON": (
        "a.jsonl",
        b'{"src": "a", "tgt": "b"}\n{"src": "yes", tgt}\n',
        "{path}:2: not JSON, Expecting property name enclosed in double quotes: line 1 column 16 "
        "(char 15); a jsonl file holds one object a line",
    ),
    "a lone surrogate": (
        "a.jsonl",
        b'{"src": "\\ud800", "tgt": "ja"}\n',
        "{path}:1: column 'src' holds a lone surrogate, which is not Unicode",
    ),
    "a field too many": (
        "a.csv",
        b'src,tgt\n"a\nb",c\nyes, sir,ja\n',
        "{path}:4: 3 fields, but the first row names 2 columns; quote fields that hold commas or "
        "quotes",
    ),
    "an open quote": (
        "a.csv",
        b'src,tgt\na,b\n"yes,ja\nno,nein\n',
        "{path}:3: not csv, unexpected end of data",
    ),
    "an empty field": (
        "a.csv",
        b"src,tgt\nyes,\n",
        "{path}:2: column 'tgt' is empty; put text there, remove the pair, or leave such pairs "
        "out with data.empty_lines=skip",
    ),
    "an empty csv": ("a.csv", b"", "{path} is empty; its first row must name the columns"),
    "an empty jsonl": ("a.jsonl", b"", "{path} has no pairs"),
    "a header alone": ("a.csv", b"src,tgt\n", "{path} has no pairs"),
    "latin-1": (
        "a.csv",
        "src,tgt\ncheese,Käse\n".encode("latin-1"),
        "{path}:2: byte 0xe4 at offset 16 is not UTF-8; convert the file, for example with "
        "iconv -f latin1 -t utf-8",
    ),
    "text called parquet": (
        "a.parquet",
        b"src,tgt\nyes,ja\n",
        "{path} is not a whole parquet file: Parquet magic bytes not found in footer. Either the "
        "file is corrupted or this is not a parquet file.",
    ),
    "no format": (
        "a.txt",
        b"yes\n",
        "data.format must be one of jsonl, csv, tsv, parquet, got none, and a.txt does not end "
        "with one",
    ),
}


@pytest.mark.parametrize(("name", "content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_table_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load(path)
    assert str(caught.value) == message.format(path=path)


def test_a_parquet_column_of_numbers_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"src": ["a"], "tgt": [1]}), tmp_path / "a.parquet")
    with pytest.raises(UserError) as caught:
        load(tmp_path / "a.parquet")
    assert (
        str(caught.value)
        == f"{tmp_path}/a.parquet: column 'tgt' must hold text, row 1 on it is int64"
    )


def test_a_missing_table_lists_its_folder(tmp_path: Path) -> None:
    written(tmp_path / "b.csv")
    with pytest.raises(UserError) as caught:
        load(tmp_path / "a.csv")
    assert str(caught.value) == (
        f"no file {tmp_path}/a.csv; {tmp_path} holds b.csv; set data.root, data.train, data.val "
        "and data.tests to what is there; data.val=null holds out pairs of train"
    )


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^data\.format must be one of .*, got 'xml'$"):
        load(written(tmp_path / "a.csv"), format="xml")


def test_tsv_keeps_what_csv_would_not(tmp_path: Path) -> None:
    pairs = [('a "b\rc', "d" * 200_000), ("e", "f")]
    assert load(written(tmp_path / "a.tsv", pairs)) == pairs


def test_a_long_field_of_csv_is_read(tmp_path: Path) -> None:
    pairs = [("a", "d" * 200_000)]
    assert load(written(tmp_path / "a.csv", pairs)) == pairs


def test_a_home_directory_is_found_in_a_file_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "a.csv")
    monkeypatch.setenv("HOME", str(tmp_path))
    data = load_data(TableConfig(train="~/a.csv", val="~/a.csv"))
    assert list(data["train"]["src"]) == [src for src, _ in PAIRS]


def test_parquet_of_string_views_is_text(tmp_path: Path) -> None:
    columns = {name: pa.array(["x", "y"], pa.string_view()) for name in ("src", "tgt")}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet") == [("x", "x"), ("y", "y")]


def test_parquet_whose_text_is_no_utf8_is_refused(tmp_path: Path) -> None:
    broken = pa.array([b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"src": broken, "tgt": ["coffee"]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet: a text is not UTF-8: .*0xe9"):
        load(tmp_path / "a.parquet")


def test_other_pairs_have_another_fingerprint(tmp_path: Path) -> None:
    first = [("1.\tA dog", "Ein Hund"), ("a", "b\nc\td")]
    second = [("1.", "A dog\tEin Hund"), ("a", "b"), ("c", "d")]
    prints = set()
    for name, pairs in (("a.jsonl", first), ("b.jsonl", second)):
        written(tmp_path / name, pairs)
        config = TableConfig(root=str(tmp_path), train=name, val=name)
        prints.add(load_data(config)["train"]._fingerprint)
    assert len(prints) == 2


def test_a_tilde_that_names_nobody_is_a_name(tmp_path: Path) -> None:
    written(tmp_path / "~nobody-9.csv")
    assert load(tmp_path / "~nobody-9.csv") == PAIRS


def test_one_array_of_objects_is_read(tmp_path: Path) -> None:
    rows = [{"src": s, "tgt": t} for s, t in PAIRS]
    (tmp_path / "a.json").write_text("\n" + json.dumps(rows, indent=1), "utf-8")
    assert load(tmp_path / "a.json") == PAIRS
    (tmp_path / "a.json").write_text(json.dumps([*rows, {"src": "x", "tgt": 7}]), "utf-8")
    with pytest.raises(UserError, match=r"a\.json, row 6: column 'tgt' must hold text"):
        load(tmp_path / "a.json")


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_dot_leads_into_a_column_of_objects(tmp_path: Path, name: str) -> None:
    rows: list[Any] = [{"n": 1, "translation": {"en": s, "de": t}} for s, t in PAIRS]
    rows.append({"n": 2, "translation": {"en": "none", "de": None}})
    rows.append({"n": 3, "translation": None})
    if name == "a.jsonl":
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    options = {"src": "translation.en", "tgt": "translation.de", "empty_lines": EmptyLines.skip}
    assert load(tmp_path / name, **options) == PAIRS
    with pytest.raises(UserError, match=r"'en'; it has n, translation\.en, translation\.de;"):
        load(tmp_path / name, src="en", tgt="de")


def test_a_name_with_a_dot_is_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"t.en": "yes", "t": {"en": "no", "de": "nein"}}\n')
    assert load(tmp_path / "a.jsonl", src="t.en", tgt="t.de") == [("yes", "nein")]


@pytest.mark.parametrize("tests", ["[a.csv]", "a.csv"])
def test_test_splits_without_names_are_told_how(tests: str) -> None:
    with pytest.raises(UserError, match=r"holds a name for each file: \+data\.tests\.NAME=FILE"):
        compose_config(["data=table", f"data.tests={tests}"])
