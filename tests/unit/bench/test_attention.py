"""The arithmetic of a call, counted one product after the other."""

import pytest

from minitf.bench.attention import Work, measure_time

B, T, E = 3, 8, 6


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("mask", "pairs"),
    [
        ({}, 3 * 8 * 8),
        ({"causal": True}, 3 * sum(range(1, 9))),
        ({"padded": True}, 8 * (6 + 8 + 6)),  # the first and the third end in padding
    ],
)
def test_what_a_mask_hides_is_not_counted(
    mask: dict[str, bool], pairs: int, training: bool
) -> None:
    """A query and a key are two products of E numbers: a score, and a part of the weighted sum."""
    work = Work((B, T, E, 2), training=training, **mask)
    flops = 2 * (B * T * 4 * E * E + pairs * 2 * E)
    assert work.flops == (3 * flops if training else flops)


def test_rows_have_a_share_of_the_peak_that_fits_their_time() -> None:
    work = Work((2, 16, 32, 2), training=False)
    rows = measure_time(work, "cpu", rounds=2)
    assert all(0 < (row.peak_share or 0) < 1 for row in rows)
    used = [row.value * (row.peak_share or 0) for row in rows]  # the same arithmetic and peak
    assert used == pytest.approx([used[0]] * len(used))
