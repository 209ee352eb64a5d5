"""Padding against cases that can be counted by hand."""

import numpy as np
import pytest

from minitf.bench.padding import fixed, of_budget, padding, pools, run
from minitf.config import UserError

SRC = np.array([5, 1, 3, 1])
TGT = np.array([2, 2, 7, 2])


def test_padding_is_counted_by_batch() -> None:
    # {0, 1}: 2 · (5 + 2) = 14 positions, 10 tokens; {2, 3}: 2 · (3 + 7) = 20 positions, 13 tokens.
    assert padding([np.array([0, 1]), np.array([2, 3])], SRC, TGT) == pytest.approx(11 / 34)
    # {0, 2}: the longest source and the longest target are of two pairs: 2 · (5 + 7), 17 tokens.
    assert padding([np.array([0, 2])], SRC, TGT) == pytest.approx(7 / 24)
    # Equal lengths together: {1, 3} has none.
    assert padding([np.array([1, 3])], SRC, TGT) == 0


def test_fixed_batches_hold_as_many_sentences_as_fill_the_budget() -> None:
    order = np.array([2, 0, 3, 1])
    # 23 tokens in 4 pairs: 5.75 each, so 2 in a budget of 12.
    assert [b.tolist() for b in fixed(order, SRC, TGT, 12)] == [[2, 0], [3, 1]]


def test_a_pool_is_sorted_and_cut_by_the_budget() -> None:
    # By source, then target: 1 and 3 (3 positions each), 2 (10), 0 (7).
    batches = pools(np.array([2, 0, 3, 1]), SRC, TGT, 12)
    assert [sorted(b.tolist()) for b in batches] == [[1, 3], [2], [0]]


@pytest.mark.parametrize("budget", [512, 1024])
def test_every_way_serves_every_pair_once_and_minitf_pads_least(budget: int) -> None:
    rng = np.random.default_rng(7)
    src, tgt = rng.integers(1, 41, (2, 2003))
    rows = of_budget(src, tgt, budget, epochs=2, seed=3)
    own, pooled, plain = (row.value for row in rows)
    assert own < pooled < plain
    assert rows[0].ratio == pytest.approx(own / pooled)
    for way in (fixed, pools):
        batches = way(rng.permutation(2003), src, tgt, budget)
        assert sorted(np.concatenate(batches).tolist()) == list(range(2003))


def test_a_pair_beyond_the_budget_is_a_users_error() -> None:
    with pytest.raises(UserError, match="10 tokens, more than batches of 9"):
        of_budget(SRC, TGT, 9, epochs=1, seed=0)


def test_a_budget_given_is_the_one_that_is_measured() -> None:
    data = ["data=copy", "tokenizer=char", "data.train_size=300", "batching.tokens=700"]
    assert {row.work for row in run(quick=True, overrides=data).rows} == {"padding/700"}
    with pytest.raises(UserError, match=r"batches have a token budget; leave out batching\.tokens"):
        run(quick=True, overrides=[*data[:3], "batching.tokens=null", "batching.sentences=5"])
