"""A batch on its way to a device and between processes."""

import pickle

import pytest
import torch

from minitf.batching import Batch


def batch() -> Batch:
    src = torch.tensor([[5, 6, 2], [7, 2, 0]])
    tgt = torch.tensor([[1, 8, 2, 0, 0], [1, 9, 9, 9, 2]])
    return Batch(src, tgt, [3, 11], num_source_tokens=5, num_target_tokens=6)


def test_moving_keeps_everything_else() -> None:
    moved = batch().to("meta")
    assert moved.src.device.type == moved.tgt.device.type == "meta"
    assert moved.src.shape == (2, 3)
    assert (moved.indices, moved.num_source_tokens, moved.num_target_tokens) == ([3, 11], 5, 6)


def test_moving_to_where_it_is_copies_nothing() -> None:
    one = batch()
    assert one.to("cpu").src.data_ptr() == one.src.data_ptr()


def test_it_travels_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(batch()))
    assert torch.equal(copy.tgt, batch().tgt)
    assert copy.indices == [3, 11]


def test_lightning_moves_it() -> None:
    from lightning.fabric.utilities.apply_func import move_data_to_device

    assert move_data_to_device(batch(), torch.device("meta")).tgt.device.type == "meta"


@pytest.mark.gpu
def test_pinned_batches_are_copied_whole() -> None:
    pinned = batch().pin_memory()
    assert pinned.src.is_pinned()
    assert pinned.tgt.is_pinned()
    assert torch.equal(pinned.to("cuda").src.cpu(), batch().src)
