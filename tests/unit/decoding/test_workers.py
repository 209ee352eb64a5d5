"""Batches side by side: in order, with their share of the threads, and nothing lost on an error."""

import threading
import time

import pytest
import torch

from minitf.decoding.workers import MOST_WORKERS, side_by_side, workers_on


@pytest.fixture
def four_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_though_the_first_is_the_last_to_be_done(four_threads):
    others = threading.Event()

    def work(item):
        if item == 0:
            assert others.wait(60)  # the second worker has to do all the rest meanwhile
        if item == 4:
            others.set()
        return item * item

    assert list(side_by_side(work, range(5), 2)) == [0, 1, 4, 9, 16]


@pytest.mark.parametrize(("workers", "threads"), [(1, [4]), (2, [2, 2]), (3, [1, 1, 2])])
def test_workers_share_the_threads(four_threads, workers, threads):
    together = threading.Barrier(workers)

    def work(_):
        together.wait(60)  # so that each worker has one
        return torch.get_num_threads()

    assert sorted(side_by_side(work, range(workers), workers)) == threads
    fresh = list(side_by_side(lambda _: torch.get_num_threads(), [0], 2))
    assert [torch.get_num_threads(), *fresh] == [4, 4]


def test_autocast_holds_in_the_workers(four_threads):
    x = torch.ones(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert {y.dtype for y in side_by_side(lambda _: x @ x, range(3), 2)} == {torch.bfloat16}
    assert {y.dtype for y in side_by_side(lambda _: x @ x, range(3), 2)} == {torch.float32}


def test_an_error_comes_out_and_what_is_not_begun_is_left(four_threads):
    begun = []
    failed = threading.Event()

    def work(item):
        begun.append(item)
        if item == 0:
            failed.set()
            raise RuntimeError("item 0")
        assert failed.wait(60)
        time.sleep(0.001)  # lets the thread that leaves the rest come to it
        return item

    with pytest.raises(RuntimeError, match="item 0"):
        list(side_by_side(work, range(997), 2))
    assert len(begun) < 997
    assert torch.get_num_threads() == 4


def test_only_a_cpu_has_several(four_threads):
    assert workers_on(torch.device("cpu")) == min(4, MOST_WORKERS)
    assert workers_on(torch.device("cuda")) == 1
