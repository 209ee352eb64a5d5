"""The one way in: from the `data` options to splits of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minitf.config.errors import UserError
from minitf.config.schema import (
    DataConfig,
    HubConfig,
    ScenesConfig,
    TableConfig,
    TextFilesConfig,
    ToyConfig,
)
from minitf.data.cache import kept
from minitf.data.held_out import with_val
from minitf.data.in_memory import dataset_dict, load_splits, save_splits

if TYPE_CHECKING:
    from datasets import DatasetDict


def load_data(config: DataConfig, cache_dir: Path | None = None) -> DatasetDict:
    """Read or make the data set that the configuration names.

    Args:
        config: the `data` options.
        cache_dir: where a generated corpus is kept; None: always generate it.

    Returns:
        Splits `train` and `val`, then every test split, with string columns `src` and `tgt`. Their
        fingerprints are digests of the text.

    Raises:
        UserError: Whatever is wrong with options or files, naming file and line.
    """
    if isinstance(config, ScenesConfig):
        from minitf.data.scenes import load_scenes, scenes_digest

        if cache_dir is None:
            return load_scenes(config)
        folder = cache_dir / f"scenes-{scenes_digest(config)}"
        return kept(folder, lambda: load_scenes(config), load_splits, save_splits)
    if isinstance(config, ToyConfig):
        from minitf.data.toy import load_toy

        return load_toy(config)
    if isinstance(config, TextFilesConfig | HubConfig):
        for name in config.tests:
            if not isinstance(name, str):
                raise UserError(f"data.tests is a list of names, as in [A,B]; got {config.tests}")
    if isinstance(config, TextFilesConfig):
        from minitf.data.text_files import read_text_files

        return dataset_dict(with_val(config, read_text_files(config)))
    if isinstance(config, TableConfig):
        from minitf.data.table import read_tables

        return dataset_dict(with_val(config, read_tables(config)))
    if isinstance(config, HubConfig):
        from minitf.data.hub import read_hub

        return dataset_dict(with_val(config, read_hub(config)))
    raise UserError(f"data must be one of minitf's data options, got {type(config).__name__}")


def data_files(config: DataConfig) -> list[Path]:
    """The files that `load_data` reads for these options: none of a generated or fetched corpus.

    Raises:
        UserError: one of them is missing.
    """
    if isinstance(config, TextFilesConfig):
        from minitf.data.text_files import named_splits, split_file

        splits = named_splits(config.train, config.val, config.tests)
        sides = (config.src, config.tgt)
        return [split_file(config.root, name, lang) for name in splits.values() for lang in sides]
    if isinstance(config, TableConfig):
        from minitf.data.table import table_file

        files = (config.train, config.val, *config.tests.values())
        return [table_file(config.root, file) for file in files if file is not None]
    return []
