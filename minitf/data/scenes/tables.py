"""Reads the grammar's tables: text files whose columns stand two or more spaces apart."""

from __future__ import annotations

import re
from importlib.resources import files

_GAP = re.compile(r"\s{2,}")


def rows(table: str, columns: int) -> list[list[str]]:
    """Rows of `tables/{table}.txt`, without comments and empty lines.

    Raises:
        AssertionError: a row has another number of columns (an error in the table itself).
    """
    text = (files(__package__) / "tables" / f"{table}.txt").read_text(encoding="utf-8")
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            row = _GAP.split(line.strip())
            assert len(row) == columns, f"{table}.txt:{number}: {len(row)} columns, not {columns}"
            found.append(row)
    return found


def words(cell: str) -> tuple[str, ...]:
    """The items of a list: parted by spaces, `-` for none."""
    return () if cell == "-" else tuple(cell.split(" "))


def spelled(cell: str) -> str:
    """A cell as it is written: `_` joins the words of one item, `0` and `-` are nothing."""
    return "" if cell in ("0", "-") else cell.replace("_", " ")
