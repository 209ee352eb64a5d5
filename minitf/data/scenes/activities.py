"""Sets of frames, by what may be said with them."""

from __future__ import annotations

from minitf.data.scenes.entries import Frame, Verb
from minitf.data.scenes.lexicon import FRAMES

WITH_CLAUSE = ("that", "whether", "infinitive")
"""Complements that are clauses."""
PLAIN = tuple(frame for frame in FRAMES if frame.complement not in WITH_CLAUSE)
"""Frames that need no other clause."""
ACTIVITIES = tuple(
    frame
    for frame in PLAIN
    if frame.flags.isdisjoint(("state", "hidden", "slow"))
    and any("person" in noun.tags for noun in frame.subjects)
)
"""What people do."""
LASTING = tuple(frame for frame in ACTIVITIES if "instant" not in frame.flags)
"""What people do for a while, so that something else can happen meanwhile."""
PLANNED = tuple(frame for frame in ACTIVITIES if "aimless" not in frame.flags)
"""What people do on purpose."""
ANYBODYS = tuple(frame for frame in PLAIN if "person" in frame.subject_tags)
"""What is said of any person, so that its subject can be a name or a pronoun."""
DEEDS = tuple(
    frame
    for frame in PLANNED
    if "person" in frame.subject_tags
    and (frame.accusatives or frame.datives or frame.governed or frame.targets)
    and frame.complement != "at"
)
"""What anybody does on purpose with something or somebody."""


def with_clause(complement: str) -> tuple[Frame, ...]:
    """Frames whose complement is a clause of this kind."""
    return tuple(frame for frame in FRAMES if frame.complement == complement)


def key(verb: Verb) -> str:
    """The verb as the tables write it: look_for, turn|on."""
    return f"{verb.english}|{verb.particle}".rstrip("|").replace(" ", "_")
