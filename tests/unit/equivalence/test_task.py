import torch

from minitf.equivalence.task import BOS, EOS, PAD, collate, letters_task, scenes_task


def test_collate_adds_the_special_tokens_and_pads_on_the_right():
    src, tgt = collate([([7, 8, 9], [4]), ([5], [6, 3])])
    assert src.tolist() == [[7, 8, 9, EOS], [5, EOS, PAD, PAD]]
    assert tgt.tolist() == [[BOS, 4, EOS, PAD], [BOS, 6, 3, EOS]]


def test_batches_are_decided_by_the_seed_and_use_every_pair_before_any_twice():
    task = letters_task(seed=4, size=12)
    first, again = task.batches(3, 4, seed=5), task.batches(3, 4, seed=5)
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    other = task.batches(3, 4, seed=6)
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(first, other, strict=False)
                   if a[0].shape == b[0].shape)  # fmt: skip
    rows = [tuple(t for t in row if t > 2) for src, _ in first for row in src.tolist()]
    assert sorted(rows) == sorted(tuple(src) for src, _ in task.pairs)


def test_letters_are_reversed():
    task = letters_task(seed=4)
    assert all(tgt == src[::-1] for src, tgt in task.pairs)
    assert task.show([3, 4, EOS]) == "ab"


def test_scenes_are_sentences():
    task = scenes_task(seed=0, size=40, vocab_size=300)
    assert len(task.pairs) == 40
    assert len(task.held_out) == 64
    assert task.show(task.pairs[0][0])[0].isupper()
    assert max(t for src, tgt in task.pairs for t in (*src, *tgt)) < task.vocab_size
