"""`data=table`: jsonl, csv, tsv or parquet files with a source and a target column.

Values are taken exactly as they stand: `NA`, `null` or a date in a csv file is text. A column of
objects has its keys for columns, with a dot: `translation.en`.
"""

from __future__ import annotations

import csv
import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from minitf.config.errors import UserError
from minitf.config.schema import TableConfig
from minitf.data.in_memory import Pair
from minitf.data.pairs import checked_pairs
from minitf.data.text import listing, open_binary, read_lines

FORMATS = ("jsonl", "csv", "tsv", "parquet")
_LONGEST_FIELD = 2**31 - 1
"""Python's csv module would refuse a text above 131,072 characters; this is its own most."""
_TWO_OF_THEM = "set data.src and data.tgt to two of them"
_NO_END = "a carriage return ends no line: end lines with \\n, for example with tr '\\r' '\\n'"


@dataclass
class Columns:
    """The two columns of a table, and where each row stands in its file."""

    src: list[str]
    tgt: list[str]
    places: list[str]


def read_tables(config: TableConfig) -> dict[str, list[Pair]]:
    """Read every split.

    Raises:
        UserError: A file that is missing or not of its format, a column that it lacks, or a value
            that is no text or is empty; file and row are named.
    """
    splits = {"train": config.train, "val": config.val}
    if config.src == config.tgt:
        raise UserError(f"data.src and data.tgt must name two columns, got {config.src!r} twice")
    for name, file in config.tests.items():
        if name in splits:
            raise UserError(f"data.tests names {name!r}, which is taken; names must be different")
        splits[name] = file
    return {split: read_split(config, file) for split, file in splits.items() if file is not None}


def read_split(config: TableConfig, file: str) -> list[Pair]:
    """Read one file."""
    path = table_file(config.root, file)
    read = {"jsonl": read_jsonl, "csv": read_csv, "tsv": read_tsv, "parquet": read_parquet}
    columns = read[table_format(path, config.format)](path, config.src, config.tgt)
    sides = {True: config.src, False: config.tgt}
    return checked_pairs(
        columns.src,
        columns.tgt,
        empty_lines=config.empty_lines,
        lowercase=config.lowercase,
        name=str(path),
        place=lambda n, is_src: f"{columns.places[n]}: column {sides[is_src]!r}",
    )


def table_file(root: str, file: str) -> Path:
    """The file of one split.

    Raises:
        UserError: There is none; what the folder holds is listed.
    """
    path = Path(os.path.expanduser(root), os.path.expanduser(file))
    if not path.is_file():
        raise UserError(
            f"no file {path}; {listing(path.parent)}; set data.root, data.train, data.val and "
            "data.tests to what is there; data.val=null holds out pairs of train"
        )
    return path


def table_format(path: Path, wanted: str | None) -> str:
    """The file's format: the one wanted, else what its name ends with.

    Raises:
        UserError: It is not one of FORMATS.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix.removeprefix(".")
    found = wanted or {"ndjson": "jsonl", "json": "jsonl", "pq": "parquet"}.get(suffix, suffix)
    if found not in FORMATS:
        raise UserError(
            f"data.format must be one of {', '.join(FORMATS)}, got "
            + (repr(wanted) if wanted else f"none, and {path.name} does not end with one")
        )
    return found


def read_jsonl(path: Path, src: str, tgt: str) -> Columns:
    """Read one JSON object a line, blank lines aside; or one array of objects."""
    columns = Columns([], [], [])
    for place, row in _json_rows(path):
        if not isinstance(row, dict):
            raise UserError(
                f"{place}: must be an object such as {{{json.dumps(src)}: …, {json.dumps(tgt)}: …}}"
                f", got {_json_kind(row)}"
            )
        columns.src.append(_json_text(row, src, place))
        columns.tgt.append(_json_text(row, tgt, place))
        columns.places.append(place)
    return columns


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    lines = ((n, line) for n, line in enumerate(read_lines(path), start=1) if line.strip())
    if (first := next(lines, None)) is None:
        return
    if first[1].lstrip().startswith("["):
        holds = "a file that begins with [ holds one array of objects"
        rows = _json("\n".join(read_lines(path)), str(path), holds)
        yield from ((f"{path}, row {n}", row) for n, row in enumerate(rows, start=1))
        return
    for number, line in chain([first], lines):
        place = f"{path}:{number}"
        yield place, _json(line, place, "a jsonl file holds one object a line")


def _json(text: str, place: str, holds: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: not JSON, {error}; {holds}") from None


def read_csv(path: Path, src: str, tgt: str) -> Columns:
    """Read comma-separated values (RFC 4180)."""
    csv.field_size_limit(_LONGEST_FIELD)
    rows = _csv_rows(csv.reader(read_lines(path, keep_ends=True), strict=True), path)
    return _read_delimited(path, src, tgt, rows, "quote fields that hold commas or quotes")


def read_tsv(path: Path, src: str, tgt: str) -> Columns:
    """Read tab-separated values, in which quotes are ordinary characters."""
    lines = enumerate(read_lines(path), start=1)
    rows = ((f"{path}:{number}", line.split("\t")) for number, line in lines if line)
    return _read_delimited(path, src, tgt, rows, "a field cannot hold a tab: use csv or jsonl")


def _read_delimited(
    path: Path, src: str, tgt: str, rows: Iterator[tuple[str, list[str]]], advice: str
) -> Columns:
    """Two columns of rows with their places, of which the first names the columns."""
    header = next(rows, None)
    if header is None:
        raise UserError(f"{path} is empty; its first row must name the columns")
    if not {src, tgt} <= set(header[1]) and any("\r" in field for field in header[1]):
        raise UserError(f"{path}:1: {_NO_END}")
    s, t = (
        _column(header[1], name, str(path), _header_advice(header[1], name)) for name in (src, tgt)
    )
    columns = Columns([], [], [])
    for place, row in rows:
        if len(row) != len(header[1]):
            raise UserError(
                f"{place}: {len(row)} fields, but the first row names {len(header[1])} columns; "
                + advice
            )
        columns.src.append(row[s])
        columns.tgt.append(row[t])
        columns.places.append(place)
    return columns


def _header_advice(header: list[str], name: str) -> str:
    """What is probably wrong with a first row that lacks the name."""
    if f'"{name}"' in header:
        return "quotes are part of a text in tsv: write the file without them, or as csv"
    if name in (field.strip() for field in header):
        return "spaces are part of a text: remove those around the names, and around the texts"
    separators = {";": "write commas", "|": "write commas", "\t": "set data.format=tsv",
                  ",": "set data.format=csv"}  # fmt: skip
    for separator, advice in separators.items():
        if len(header) == 1 and name in header[0].split(separator):
            return f"its fields seem to be separated by {separator!r}: {advice}"
    return f"{_TWO_OF_THEM}; a file whose first row names no columns needs such a row"


def read_parquet(path: Path, src: str, tgt: str) -> Columns:
    """Read two string columns of a parquet file; nulls become empty."""
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    text_types = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    try:
        with open_binary(path) as stream:
            file = pq.ParquetFile(stream)
            schema = file.schema_arrow
            nested = not {src, tgt} <= set(schema.names)
            if nested:
                schema = _flattened(schema.empty_table()).schema
            for name in (src, tgt):
                _column(schema.names, name, str(path))
                kind = schema.field(name).type
                kind = kind.value_type if pa.types.is_dictionary(kind) else kind
                if not any(is_text(kind) for is_text in text_types):
                    raise UserError(
                        f"{path}: column {name!r} must hold text, row 1 on it is {kind}"
                    )
            table = file.read(columns=[src, tgt])
            table = _flattened(table) if nested else table
            sources, targets = (table.column(name).to_pylist() for name in (src, tgt))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: a text is not UTF-8: {error}") from error
    except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} is not a whole parquet file: {reason}") from error
    return Columns(
        src=[value or "" for value in sources],
        tgt=[value or "" for value in targets],
        places=[f"{path}, row {n + 1}" for n in range(table.num_rows)],
    )


def _flattened(table: Any) -> Any:
    """The table with a column for each key of a column of objects."""
    import pyarrow as pa

    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    return table


def _csv_rows(reader: Any, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Each row that is not blank, with its place; rows may run over several lines."""
    while True:
        begin = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            if "new-line character" in str(error):
                raise UserError(f"{path}:{begin}: {_NO_END}, or quote the field") from None
            raise UserError(f"{path}:{begin}: not csv, {error}") from None
        if row is None:
            return
        if row:
            yield f"{path}:{begin}", row


def _column(names: list[str], name: str, place: str, advice: str = _TWO_OF_THEM) -> int:
    """The column's number."""
    if name not in names:
        raise UserError(
            f"{place} has no column {name!r}; it has {', '.join(names) or 'none'}; {advice}"
        )
    if names.count(name) > 1:
        raise UserError(f"{place} has {names.count(name)} columns {name!r}; names must differ")
    return names.index(name)


def _json_text(row: dict[str, Any], name: str, place: str) -> str:
    if name not in row:
        row = dict(_flat(row))
    parts = name.split(".")
    objects = (".".join(parts[:count]) for count in range(1, len(parts)))
    if name not in row and any(row.get(place, "") is None for place in objects):
        return ""  # no object at all, as parquet has it
    _column(list(row), name, place)
    value = row[name]
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(f"{place}: column {name!r} must hold text, got {_json_kind(value)}")
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise UserError(f"{place}: column {name!r} holds a lone surrogate, which is not Unicode")
    return value


def _flat(row: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _json_kind(value: Any) -> str:
    """What JSON calls the value, and the value."""
    kinds = {bool: "a boolean", int: "a number", float: "a number", dict: "an object"}
    shown = json.dumps(value, ensure_ascii=False)
    shown = shown if len(shown) <= 40 else shown[:40] + "…"
    return f"{kinds.get(type(value), 'an array' if isinstance(value, list) else 'text')}: {shown}"
