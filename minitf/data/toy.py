"""`data=reverse` and `data=copy`: sequences of letters, to be reversed or copied.

Both are solved exactly by a Transformer of a few thousand weights within seconds, so they show at
once whether attention, masks and training work.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from minitf.config.errors import UserError
from minitf.config.schema import ToyConfig
from minitf.data.in_memory import check_positive, dataset_dict

if TYPE_CHECKING:
    from datasets import DatasetDict

TASKS: dict[str, Callable[[str], str]] = {
    "copy": lambda letters: letters,
    "reverse": lambda letters: letters[::-1],
}


def load_toy(config: ToyConfig) -> DatasetDict:
    """Draws distinct sequences, as evenly over the lengths as their number allows.

    Returns:
        Splits `train`, `val` and `test`, of which no two share a sequence; `src` and `tgt` are the
        letters with a space between any two.

    Raises:
        UserError: for a size, length or alphabet that cannot be met.
    """
    _check(config)
    rng = random.Random(config.seed)
    sizes = {"train": config.train_size, "val": config.val_size, "test": config.test_size}
    letters = len(config.alphabet)
    capacities = {n: letters**n for n in range(config.min_length, config.max_length + 1)}
    sequences = [
        _spell(index, length, config.alphabet)
        for length, count in _shares(sum(sizes.values()), capacities).items()
        for index in _distinct_integers(rng, capacities[length], count)
    ]
    rng.shuffle(sequences)
    task = TASKS[config.name]
    pairs = iter([(" ".join(sequence), " ".join(task(sequence))) for sequence in sequences])
    return dataset_dict({split: [next(pairs) for _ in range(n)] for split, n in sizes.items()})


def _check(config: ToyConfig) -> None:
    if config.name not in TASKS:
        raise UserError(f"data.name must be one of {', '.join(TASKS)}, got {config.name!r}")
    check_positive(
        train_size=config.train_size,
        val_size=config.val_size,
        test_size=config.test_size,
        min_length=config.min_length,
    )
    if config.max_length < config.min_length:
        raise UserError(
            f"data.max_length must be at least data.min_length ({config.min_length}), "
            f"got {config.max_length}"
        )
    alphabet = config.alphabet
    if not alphabet or any(letter.isspace() for letter in alphabet):
        raise UserError(f"data.alphabet must be letters without spaces, got {alphabet!r}")
    repeated = sorted({letter for letter in alphabet if alphabet.count(letter) > 1})
    if repeated:
        raise UserError(
            f"data.alphabet must hold each letter once, got {alphabet!r} "
            f"with {', '.join(repeated)} repeated"
        )
    wanted = config.train_size + config.val_size + config.test_size
    possible = sum(len(alphabet) ** n for n in range(config.min_length, config.max_length + 1))
    if wanted > possible:
        raise UserError(
            f"{wanted} distinct sequences were asked for, but {len(alphabet)} letters in lengths "
            f"{config.min_length} to {config.max_length} make {possible}: "
            f"lower the sizes, or raise data.max_length"
        )


def _shares(total: int, capacities: dict[int, int]) -> dict[int, int]:
    """Splits `total` evenly over the lengths, none above its capacity.

    >>> _shares(25, {1: 3, 2: 9, 3: 27})
    {1: 3, 2: 9, 3: 13}
    """
    shares = {}
    lengths = sorted(capacities)  # capacities grow with length: the small ones fill up first
    for done, length in enumerate(lengths):
        shares[length] = min(capacities[length], total // (len(lengths) - done))
        total -= shares[length]
    return shares


def _distinct_integers(rng: random.Random, bound: int, count: int) -> list[int]:
    """Draws `count` different integers below `bound` by Floyd's algorithm, without rejection.

    Bentley and Floyd 1987, "Programming pearls: a sample of brilliance".
    """
    chosen: dict[int, None] = {}
    for top in range(bound - count, bound):
        candidate = rng.randrange(top + 1)
        chosen[top if candidate in chosen else candidate] = None
    return list(chosen)


def _spell(index: int, length: int, alphabet: str) -> str:
    """Writes `index` as a number of `length` digits in base `len(alphabet)`."""
    letters = []
    for _ in range(length):
        index, digit = divmod(index, len(alphabet))
        letters.append(alphabet[digit])
    return "".join(letters)
