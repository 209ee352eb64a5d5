"""`data=text_files`: parallel files, line n of one translating line n of the other."""

from __future__ import annotations

import os
import re
from pathlib import Path

from minitf.config.errors import UserError
from minitf.config.schema import TextFilesConfig
from minitf.data.in_memory import Pair
from minitf.data.pairs import checked_pairs
from minitf.data.text import listing, read_lines


def read_text_files(config: TextFilesConfig) -> dict[str, list[Pair]]:
    """Read every split.

    Raises:
        UserError: A file that is missing, empty, not UTF-8 or otherwise damaged, two files whose
            numbers of lines differ, or an empty line that is not to be skipped.
    """
    if config.src == config.tgt:
        raise UserError(f"data.src and data.tgt must differ, both are {config.src!r}")
    return {
        split: read_split(config, files)
        for split, files in named_splits(config.train, config.val, config.tests).items()
    }


def named_splits(train: str, val: str | None, tests: list[str]) -> dict[str, str]:
    """The splits in their order, each with what it is called; no `val` where that is None."""
    splits = {"train": train, "val": val or ""}
    for test in tests:
        # A file name serves as the split's name as it stands, folders and place-holder aside.
        name = re.sub(r"\.?\{lang\}", "", Path(test).name).strip(".") or test
        if name in splits:
            raise UserError(f"data.tests names {name!r}, which is taken; names must be different")
        splits[name] = test
    return {name: files for name, files in splits.items() if name != "val" or val is not None}


def read_split(config: TextFilesConfig, files: str) -> list[Pair]:
    """Read the two files of one split."""
    src_path, tgt_path = (split_file(config.root, files, lang) for lang in (config.src, config.tgt))
    src, tgt = list(read_lines(src_path)), list(read_lines(tgt_path))
    for path, lines in ((src_path, src), (tgt_path, tgt)):
        if not lines:
            raise UserError(f"{path} is empty; it must hold a sentence a line")
        if len(lines) == 1 and "\r" in lines[0]:
            raise UserError(
                f"{path} has one line, with carriage returns in it; end lines with \\n, for "
                "example with tr '\\r' '\\n'"
            )
    if len(src) != len(tgt):
        raise UserError(
            f"{src_path} has {len(src):,} lines and {tgt_path} has {len(tgt):,}; "
            "parallel files must have the same number"
        )
    return checked_pairs(
        src,
        tgt,
        empty_lines=config.empty_lines,
        lowercase=config.lowercase,
        name=f"{src_path} with {tgt_path}",
        place=lambda n, is_src: f"{src_path if is_src else tgt_path}:{n + 1}",
    )


def split_file(root: str, files: str, lang: str) -> Path:
    """The file of one split and language, plain or with `.gz`.

    Raises:
        UserError: There is none; what the folder holds is listed.
    """
    name = files.replace("{lang}", lang) if "{lang}" in files else f"{files}.{lang}"
    path = Path(os.path.expanduser(root), os.path.expanduser(name))
    if path.is_file():
        return path
    packed = path.with_name(path.name + ".gz")
    if packed.is_file():
        return packed
    raise UserError(
        f"no file {path} or {packed.name}; {listing(path.parent)}; set data.root, data.train, "
        "data.val, data.tests, data.src and data.tgt to what is there; data.val=null holds out "
        "pairs of train, data.tests=[] tests on val"
    )
