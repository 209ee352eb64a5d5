"""oneDNN's memory is bounded, unless the user has said by how much, and not in the bench."""

import os

import pytest

from minitf.commands import main
from minitf.config.onednn import bound_onednn

NAMES = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY")


@pytest.fixture(autouse=True)
def neither_is_set(monkeypatch):
    for name in NAMES:
        monkeypatch.setenv(name, "")  # so that it is as before afterwards
        monkeypatch.delenv(name)


def test_a_users_own_bound_stays(monkeypatch):
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "17")
    bound_onednn()
    assert [os.environ[name] for name in NAMES] == ["256", "17"]


@pytest.mark.parametrize(
    ("command", "bound"), [("translate", "256"), ("evaluate", "256"), ("bench", None)]
)
def test_it_is_bounded_where_many_shapes_are_decoded_and_no_alternative_is_slowed(command, bound):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert [os.environ.get(name) for name in NAMES] == [bound, bound]
