"""Chunks: they must not show in what is found."""

import math

import pytest
import torch

from minitf.decoding import top


def _scores(B, K, V, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(B, K, V, generator=generator, dtype=torch.float64),
        torch.randn(B, K, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize("V", [5, 511, 512, 576, 1009, 2003])
@pytest.mark.parametrize("count", [1, 3, 10])
def test_best_continuations_are_those_of_topk(V, count):
    following, so_far = _scores(5, 3, V)
    so_far[2, 1] = -math.inf
    following[1, :, 3:] = -math.inf  # fewer than `count` are possible
    values, rows, tokens = top.best_continuations(following, so_far, count)
    total = (following + so_far.unsqueeze(-1)).flatten(1)
    expected = total.topk(count, dim=1)
    assert torch.equal(values, expected.values)
    possible = values > -math.inf
    assert torch.equal((rows * V + tokens)[possible], expected.indices[possible])
    assert possible.sum() > 10 * (count > 2)


@pytest.mark.parametrize("V", [511, 1009])
def test_the_best_may_all_stand_in_one_chunk_or_in_none(V):
    following, so_far = _scores(2, 3, V)
    following[0, 1, 65:75] += 50.0
    following[1, 2, -10:] += 50.0
    _, rows, tokens = top.best_continuations(following, so_far, 10)
    assert set(rows[0].tolist()) == {1}
    assert sorted(tokens[0].tolist()) == list(range(65, 75))
    assert set(rows[1].tolist()) == {2}
    assert sorted(tokens[1].tolist()) == list(range(V - 10, V))


@pytest.mark.parametrize("V", [5, 512, 577, 1009, 2003])
def test_argmax_is_the_first_of_the_highest(V):
    scores, _ = _scores(7, 3, V)
    assert torch.equal(top.argmax(scores), scores.argmax(-1))
    few = (scores * 2).round().clamp(max=1)  # many are equal
    assert torch.equal(top.argmax(few), few.argmax(-1))
    late = torch.zeros(1, 1, V)
    late[..., -1] = 1.0
    assert top.argmax(late).item() == V - 1
