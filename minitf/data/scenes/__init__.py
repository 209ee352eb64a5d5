"""`data=scenes`: English sentences and their German translations from a grammar.

Read in this order: `tables/` (the words and what goes with what), `lexicon.py` (the tables as
objects), `phrases.py` (what a sentence says), `german.py`, `german_clause.py` and `english.py` (how
it is said), `nominals.py`, `clauses.py` and `sentences.py` (how it is drawn), `corpus.py` (splits).
"""

from minitf.data.scenes.corpus import load_scenes

__all__ = ["load_scenes"]
