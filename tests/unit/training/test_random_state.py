"""Saved and restored generators draw the same numbers again."""

import random

import numpy as np
import torch

from minitf.training.callbacks.random_state import random_state, restore_random_state

CPU = torch.device("cpu")


def _draw() -> list[float]:
    return [
        random.gauss(0, 1),
        float(np.random.normal()),
        float(torch.randn(())),
        random.random(),
        float(np.random.random()),
    ]


def test_the_same_draws_follow_a_restored_state() -> None:
    _draw()  # leaves half a Gaussian pair behind in each generator
    state = random_state(CPU)
    first = _draw()
    assert _draw() != first
    restore_random_state(state, CPU)
    assert _draw() == first


def test_a_checkpoint_can_hold_it(tmp_path) -> None:  # type: ignore[no-untyped-def]
    torch.save(random_state(CPU), tmp_path / "state")
    state = torch.load(tmp_path / "state", weights_only=True)
    first = _draw()
    restore_random_state(state, CPU)
    assert _draw() == first
