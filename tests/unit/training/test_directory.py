"""A run's directory belongs to one run, and to one process at a time."""

from pathlib import Path

import pytest

from minitf.config import UserError
from minitf.training.directory import held


def test_two_cannot_hold_it(tmp_path: Path) -> None:
    with held(tmp_path / "run", resume=False):
        again = held(tmp_path / "run", resume=False)
        with pytest.raises(UserError, match="another process is training in"), again:
            pass
        assert (tmp_path / "run").is_dir()


def test_left_empty_it_goes_and_else_it_stays(tmp_path: Path) -> None:
    with held(tmp_path / "run", resume=False):
        assert (tmp_path / "run").is_dir()
    assert not (tmp_path / "run").exists()
    with held(tmp_path / "run", resume=False):
        (tmp_path / "run" / "config.yaml").touch()
    assert (tmp_path / "run").is_dir()


def test_another_run_is_kept(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    with (
        pytest.raises(UserError, match="holds a run already"),
        held(tmp_path / "run", resume=False),
    ):
        pass
    with held(tmp_path / "run", resume=True):
        pass
    assert checkpoint.is_file()


def test_a_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    again = held(tmp_path / "run", resume=False)
    with pytest.raises(UserError, match="cannot be made: File exists"), again:
        pass
