"""Sentence pairs from where they lie: this project's corpus, files, tables, the hub."""

from minitf.data.load import data_files, load_data
from minitf.data.text import read_lines

__all__ = ["data_files", "load_data", "read_lines"]
