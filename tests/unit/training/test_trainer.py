"""What is kept on disk, and when."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint

from minitf.config.schema import EvaluationConfig
from minitf.training.trainer import checkpoint_callbacks


@pytest.mark.parametrize("mid_update", [False, True])
def test_what_is_resumed_holds_whole_updates(tmp_path: Path, mid_update: bool) -> None:
    """The best weights are whole at any time; the last ones go with gradients."""
    saved: list[Any] = []
    trainer: Any = object()
    module: Any = SimpleNamespace(mid_update=mid_update)
    with patch.object(
        ModelCheckpoint, "on_validation_end", lambda self, *_: saved.append(self.filename)
    ):
        for callback in checkpoint_callbacks(tmp_path, EvaluationConfig()):
            callback.on_validation_end(trainer, module)
    assert ("last" in saved) is not mid_update
    assert "best" in saved
