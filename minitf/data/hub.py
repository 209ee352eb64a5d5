"""`data=hub`: a Hugging Face data set by name, or from a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minitf.config.errors import UserError
from minitf.config.schema import HubConfig
from minitf.data.in_memory import Pair
from minitf.data.pairs import checked_pairs
from minitf.data.text import listing

if TYPE_CHECKING:
    from datasets import Dataset

_PROBE_SECONDS = 3.0
"""How long to wait for the hub before going on with what is in the cache."""


def read_hub(config: HubConfig) -> dict[str, list[Pair]]:
    """Read every split, from the hub or from what an earlier run left in its cache.

    `HF_HUB_OFFLINE=1` and the other variables of `huggingface_hub` and `datasets` hold. A path of
    a folder is read from there: one that `save_to_disk` made, or one that `load_dataset` knows.

    Raises:
        UserError: The data set cannot be had (no network and not in the cache, no such name), it
            lacks a split or column, or a value is no text or empty.
    """
    if config.src == config.tgt:
        raise UserError(f"data.src and data.tgt must differ, both are {config.src!r}")
    found = _load(config)
    splits = {"train": config.train, "val": config.val}
    for name in config.tests:
        if name in splits:
            raise UserError(f"data.tests names {name!r}, which is taken; names must be different")
        splits[name] = name
    wanted = {split: name for split, name in splits.items() if name is not None}
    missing = [name for name in wanted.values() if name not in found]
    if missing:
        raise UserError(
            f"{config.path} has no split {missing[0]!r}; it has {', '.join(found)}; set "
            "data.train, data.val and data.tests; data.val=null holds out pairs of train, "
            "data.tests=[] tests on val"
        )
    return {split: _pairs(config, found[name], name) for split, name in wanted.items()}


def local_path(path: str) -> str:
    """The absolute path of a folder or file; a name on the hub as it stands."""
    full = os.path.abspath(os.path.expanduser(path))
    return full if path.startswith((".", "/", "~")) or os.path.exists(full) else path


def _load(config: HubConfig) -> Any:
    path = local_path(config.path)
    if os.path.isabs(path):
        return _load_folder(config, Path(path))
    reachable = _reachable()
    try:
        with _offline(not reachable):
            return _load_dataset(path, config)
    except Exception as error:  # datasets raises a dozen kinds, all about this one call
        if not reachable:
            raise UserError(
                f"{path} is not in the cache and the Hugging Face hub cannot be reached"
                f"{_why_offline()}; connect, or use local files with data=text_files or data=table"
            ) from error
        raise UserError(
            f"cannot load {path} from the Hugging Face hub: {_reason(error)}"
        ) from error


def _load_dataset(path: str, config: HubConfig) -> Any:
    """`load_dataset`, but "NA", "null" and the like in csv files are texts as any other."""
    from datasets import load_dataset, load_dataset_builder

    builder = load_dataset_builder(path, config.config_name, revision=config.revision)
    is_csv = hasattr(builder.config, "keep_default_na")
    options = {"keep_default_na": False} if is_csv else {}
    return load_dataset(path, config.config_name, revision=config.revision, **options)


def _load_folder(config: HubConfig, folder: Path) -> Any:
    from datasets import DatasetDict, load_from_disk

    if folder.is_file():
        raise UserError(
            f"data.path={config.path} is a file, and data=hub reads a name or a folder; read files "
            "with data=table data.train=FILE data.val=FILE"
        )
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {folder}; {listing(folder.parent)}; set data.path to a folder, or "
            "to a name on the Hugging Face hub"
        )
    try:
        if not any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
            return _load_dataset(str(folder), config)
        saved = load_from_disk(str(folder))
    except Exception as error:  # as above
        raise UserError(f"cannot load the folder {folder}: {_reason(error)}") from error
    return saved if isinstance(saved, DatasetDict) else {str(saved.split or "train"): saved}


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _reachable() -> bool:
    """Whether the hub answers at all; by itself `datasets` retries for half a minute."""
    from datasets import config as datasets_config
    from huggingface_hub import get_session

    if datasets_config.HF_HUB_OFFLINE:
        return False
    try:
        answer = get_session().head(datasets_config.HF_ENDPOINT, timeout=_PROBE_SECONDS)
    except Exception:  # the HTTP library differs between versions of huggingface_hub
        return False
    return bool(answer.status_code < 400)  # a proxy without a connection answers too


def _why_offline() -> str:
    from datasets import config as datasets_config

    if not datasets_config.HF_HUB_OFFLINE:
        return ""
    names = ("HF_DATASETS_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return next((f" ({name}={os.environ[name]})" for name in names if os.environ.get(name)), "")


@contextmanager
def _offline(wanted: bool) -> Iterator[None]:
    """Let both libraries use their caches alone, as HF_HUB_OFFLINE=1 does at their import."""
    from datasets import config as datasets_config
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets_config.HF_HUB_OFFLINE
    if wanted:
        constants.HF_HUB_OFFLINE = datasets_config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets_config.HF_HUB_OFFLINE = before


def _pairs(config: HubConfig, data: Dataset, split: str) -> list[Pair]:
    name = f"{config.path}, split {split}"
    columns = [_texts(config, data, side, name) for side in (config.src, config.tgt)]
    return checked_pairs(
        *columns,
        empty_lines=config.empty_lines,
        lowercase=config.lowercase,
        name=name,
        place=lambda n, is_src: f"{name}, row {n + 1}: {config.src if is_src else config.tgt!r}",
    )


def _texts(config: HubConfig, data: Dataset, side: str, name: str) -> list[str]:
    """One side as text; nulls become empty."""
    import pyarrow as pa  # type: ignore[import-untyped]

    table = data.with_format("arrow")[:]
    kind = f"column {side!r}"
    if config.translation_column in table.column_names:
        structure = table.column(config.translation_column).combine_chunks()
        if pa.types.is_struct(structure.type):
            table = pa.Table.from_struct_array(structure)
            kind = f"{config.translation_column!r} entry {side!r}"
    if side not in table.column_names:
        raise UserError(
            f"{name} has no {kind}; it has {', '.join(table.column_names)}; set data.src and "
            "data.tgt to two of them"
        )
    values = table.column(side)
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise UserError(f"{name}: {kind} must hold text, row 1 on it is {values.type}")
    return [value or "" for value in values.to_pylist()]
