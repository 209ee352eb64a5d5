"""oneDNN's memory is bounded, unless the user has said by how much."""

import os

from minitf.config.environment import bound_onednn


def test_a_users_own_bound_stays(monkeypatch):
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "17")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    bound_onednn()
    assert os.environ["LRU_CACHE_CAPACITY"] == "17"
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "256"
