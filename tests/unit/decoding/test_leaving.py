"""When sentences leave the batch."""

import torch

from minitf.decoding.leaving import finished_sentences, split


def test_finished_sentences_wait_until_they_are_a_tenth():
    done = torch.zeros(23, dtype=torch.bool)
    assert finished_sentences(done, 0, last=False) is None
    done[:2] = True
    assert finished_sentences(done, 0, last=False) is None
    done[5] = True
    assert finished_sentences(done, 0, last=False) == done.tolist()


def test_at_the_last_step_all_leave():
    assert finished_sentences(torch.zeros(3, dtype=torch.bool), 7, last=True) == [True] * 3


def test_split_names_both_sides():
    leaving, left, staying, kept = split([True, False, True], torch.device("cpu"))
    assert (leaving, staying) == ([0, 2], [1]) == (left.tolist(), kept.tolist())
