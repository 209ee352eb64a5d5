"""What a user's own class raises is told with his frames alone."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from minitf.config.own_code import refusal_of_own_code

OWN = """
import json

def raises_itself():
    raise IndexError("no such head")

def through_a_library():
    json.loads("{")

def asserts():
    assert False
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module outside of this project and of every library."""
    (tmp_path / "own_code_of_a_user.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield importlib.import_module("own_code_of_a_user")
    del sys.modules["own_code_of_a_user"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("raises_itself", "IndexError in own_code_of_a_user.py, line 5, raises_itself: no such"),
        ("through_a_library", "JSONDecodeError in own_code_of_a_user.py, line 8, through_a_libr"),
        ("asserts", "AssertionError in own_code_of_a_user.py, line 11, asserts: no message"),
    ],
)
def test_the_users_frame_is_named(
    own: Any, capsys: pytest.CaptureFixture[str], name: str, told: str
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - of any kind
        getattr(own, name)()
    error = caught.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # as the command catches it: without a test's
    assert str(refusal_of_own_code(error)).startswith(told)
    shown = capsys.readouterr().err
    assert "own_code_of_a_user.py" in shown
    assert "test_own_code.py" not in shown
    assert ("decoder.py" in shown) is (name == "through_a_library")


def test_an_error_of_a_library_is_not_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads("{")
    assert caught.value.__traceback__ is not None
    assert (
        refusal_of_own_code(caught.value.with_traceback(caught.value.__traceback__.tb_next)) is None
    )
    assert not capsys.readouterr().err


def test_what_torch_generates_is_not_the_users(tmp_path: Path) -> None:
    """Of an error while it is compiled, such as a compiler that Ctrl-C ends, too."""
    generated = tmp_path / "torchinductor_somebody" / "kernel.py"
    generated.parent.mkdir()
    generated.write_text("raise RuntimeError('no kernel')")
    with pytest.raises(RuntimeError) as caught:
        exec(compile(generated.read_text(), str(generated), "exec"))
    error = caught.value
    assert error.__traceback__ is not None
    assert refusal_of_own_code(error.with_traceback(error.__traceback__.tb_next)) is None
