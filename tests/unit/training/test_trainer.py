"""What is kept on disk, and when."""

from pathlib import Path

import pytest
import torch

from minitf.config.schema import EvaluationConfig
from minitf.training.trainer import checkpoint_callbacks


@pytest.mark.parametrize("options", [{}, {"average_last": 2}, {"average_best": 2}])
def test_a_run_that_was_moved_keeps_its_best(tmp_path: Path, options: dict[str, int]) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    evaluation = EvaluationConfig(**options)
    for before, after in zip(
        checkpoint_callbacks(old, evaluation), checkpoint_callbacks(new, evaluation), strict=True
    ):
        assert before.state_key == after.state_key
        assert before.state_key.startswith(("ModelCheckpoint{", "BestSeveral{"))  # in older runs
        before.best_model_path = before.kth_best_model_path = str(old / "a.ckpt")
        before.best_k_models = {str(old / "a.ckpt"): torch.tensor(1.5)}
        before.best_model_score = before.kth_value = torch.tensor(1.5)
        after.load_state_dict(before.state_dict())
        assert after.best_model_score == 1.5
        assert after.best_model_path == after.kth_best_model_path == str(new / "a.ckpt")
        assert list(after.best_k_models) == [str(new / "a.ckpt")]
        assert after.last_model_path == ""
