"""The loader's position: exact whatever workers prefetch, continued by the next iteration."""

from collections.abc import Callable

import pytest
import torch

from minitf.batching import Batch, BatchSampler, EncodedPairs, ResumableLoader

Make = Callable[..., EncodedPairs]

# torch's advice on a machine with fewer cores than the workers that are tested
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def loader(pairs: EncodedPairs, num_workers: int = 0, tokens: int = 300) -> ResumableLoader:
    sampler = BatchSampler(pairs.src_lengths, pairs.tgt_lengths, tokens=tokens, seed=3)
    return ResumableLoader(pairs, sampler, num_workers=num_workers)


def content(batches: list[Batch]) -> list[tuple[list[int], list[list[int]], list[list[int]]]]:
    return [(batch.indices, batch.src.tolist(), batch.tgt.tolist()) for batch in batches]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("handed_out", [1, 5])
def test_resuming_gives_the_remaining_batches(
    make_pairs: Make, num_workers: int, handed_out: int
) -> None:
    pairs = make_pairs(101)
    whole = loader(pairs)
    expected = content([*whole, *whole])  # two epochs

    first = loader(pairs, num_workers)
    iterator = iter(first)
    seen = [next(iterator) for _ in range(handed_out)]
    state = first.state_dict()
    assert state == {"epoch": 0, "n": handed_out}
    del iterator

    second = loader(pairs, num_workers)
    second.load_state_dict(state)
    assert content([*seen, *second, *second]) == expected


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_finished_epoch_is_followed_by_the_next(make_pairs: Make, num_workers: int) -> None:
    pairs = make_pairs(101)
    whole = loader(pairs)
    first, second = content(list(whole)), content(list(whole))
    assert first != second

    finished = loader(pairs, num_workers)
    finished.load_state_dict({"epoch": 0, "n": len(finished)})
    assert content(list(finished)) == second
    assert finished.state_dict() == {"epoch": 1, "n": len(finished)}


def test_the_position_counts_batches_handed_out_not_prefetched(make_pairs: Make) -> None:
    one = loader(make_pairs(101), num_workers=2)
    iterator = iter(one)
    assert one.state_dict() == {"epoch": 0, "n": 0}
    next(iterator)
    next(iterator)
    assert one.state_dict() == {"epoch": 0, "n": 2}


def test_an_iterator_that_was_never_used_changes_nothing(make_pairs: Make) -> None:
    pairs = make_pairs(101)
    one = loader(pairs)
    iter(one)
    iter(one)
    assert content(list(one)) == content(list(loader(pairs)))


def test_an_iteration_left_early_is_continued(make_pairs: Make) -> None:
    pairs = make_pairs(101)
    one = loader(pairs)
    begun = [batch for batch, _ in zip(one, range(3), strict=False)]
    assert len(begun) == 3
    # zip drew a fourth batch before it ended.
    drawn = one.state_dict()["n"]
    rest = list(one)
    assert len(rest) == len(one) - drawn


def test_validation_begins_anew_wherever_it_left_off(make_pairs: Make) -> None:
    pairs = make_pairs(101)
    sampler = BatchSampler(pairs.src_lengths, pairs.tgt_lengths, tokens=300, seed=3, shuffle=False)
    validation = ResumableLoader(pairs, sampler, from_start=True)
    whole = content([*validation])
    assert len(whole) > 3
    for taken in (1, 3):
        iterator = iter(validation)
        assert content([next(iterator) for _ in range(taken)]) == whole[:taken]
    assert content([*validation]) == whole


def test_its_length_is_the_whole_epochs(make_pairs: Make) -> None:
    one = loader(make_pairs(101))
    length = len(one)
    next(iter(one))
    assert len(one) == length == len(list(loader(make_pairs(101))))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_iterating_leaves_the_global_generator_alone(make_pairs: Make, num_workers: int) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    list(loader(make_pairs(53), num_workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_handing_in_a_state_copies_it(make_pairs: Make) -> None:
    one = loader(make_pairs(53))
    state = {"epoch": 2, "n": 1}
    one.load_state_dict(state)
    list(one)
    assert state == {"epoch": 2, "n": 1}


@pytest.mark.gpu
def test_a_device_serves_the_same_batches(make_pairs: Make) -> None:
    pairs = make_pairs(503)
    assert content(list(loader(pairs.to("cuda")))) == content(list(loader(pairs)))
