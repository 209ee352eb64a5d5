"""`data=scenes`: English sentences and their German translations from a grammar.

Read in this order:
- `tables/`: the words, and what goes with what; `entries.py`, `lexicon.py`: the tables as objects;
- `phrases.py`: what a sentence says; `german.py`, `german_clause.py`, `english.py`: how it is said;
- `nominals.py`, `tenses.py`, `clauses.py`: how a clause is drawn;
- `descriptions.py`, `questions.py`, `reasons.py`, `joined.py`: kinds of clauses, and pairs of them;
- `sentences.py`: the sentence;
- `corpus.py`: the splits.
"""

from minitf.data.scenes.corpus import load_scenes, scenes_digest

__all__ = ["load_scenes", "scenes_digest"]
