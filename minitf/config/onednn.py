"""How many shapes of matrix products oneDNN remembers."""

import os


def bound_onednn() -> None:
    """Let oneDNN keep what it builds for 256 shapes of products on a CPU, not for 1,024.

    Batches have hundreds of shapes, and each takes some 0.7 MB; torch's part of it keeps as many
    again. A user's own values stay.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "256")
