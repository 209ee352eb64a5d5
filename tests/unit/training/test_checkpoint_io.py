"""A checkpoint file is whole or it is not there, and reading one runs no code."""

import pickle
import resource
from pathlib import Path

import pytest
import torch

from minitf.config import UserError
from minitf.evaluation.checkpoints import read_checkpoint
from minitf.training.checkpoint_io import AtomicCheckpointIO


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    content = {"state_dict": {"w": torch.arange(7.0)}, "epoch": 3}
    AtomicCheckpointIO().save_checkpoint(content, tmp_path / "new" / "a.ckpt")
    found = read_checkpoint(tmp_path / "new" / "a.ckpt")
    assert torch.equal(found["state_dict"]["w"], torch.arange(7.0))
    assert found["epoch"] == 3
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.ckpt"]


@pytest.mark.parametrize("other", ["last.ckpt", "best.ckpt"])
def test_a_failed_save_leaves_the_previous_file_and_nothing_else(
    tmp_path: Path, other: str
) -> None:
    """A real limit: of a full disk torch itself says no more than "unexpected pos"."""
    path = tmp_path / "checkpoints" / other
    AtomicCheckpointIO().save_checkpoint({"state_dict": {}, "step": 1}, path)
    advice = f"go on with resume={tmp_path}" if other == "last.ckpt" else "start the run again"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"could not be written \(.* MB are free") as caught:
            AtomicCheckpointIO().save_checkpoint({"w": torch.zeros(1_000_003)}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert read_checkpoint(path)["step"] == 1
    assert str(caught.value).endswith(f"there): make room, and {advice}")
    assert [p.name for p in path.parent.iterdir()] == [other]


class _Attack:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("code ran",))


def test_code_in_a_checkpoint_does_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps({"state_dict": _Attack()}))
    with pytest.raises(UserError, match="no plain checkpoint"):
        read_checkpoint(path)
    torch.save({"state_dict": _Attack()}, path)
    with pytest.raises(UserError, match="no plain checkpoint"):
        read_checkpoint(path)
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("url", ["http://host/a.ckpt", "https://host/a.ckpt", "s3://b/a.ckpt"])
def test_nothing_is_fetched_from_a_url(url: str) -> None:
    with pytest.raises(UserError, match="no checkpoint at"):
        AtomicCheckpointIO().load_checkpoint(url)
