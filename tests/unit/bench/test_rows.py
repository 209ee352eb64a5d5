"""Medians, spreads and ratios, worked out by hand; what the JSON holds."""

import json
from pathlib import Path

import pytest

from minitf.bench.report import plot, write_json
from minitf.bench.rows import Failure, Findings, Row, median_and_spread, with_ratios


def test_median_and_spread() -> None:
    # Quartiles of 1 … 7 are 2 and 6.
    assert median_and_spread([7.0, 1, 2, 6, 3, 5, 4]) == (4.0, 1.0)
    assert median_and_spread([3.0]) == (3.0, 0.0)


@pytest.mark.parametrize(("unit", "best"), [("tokens/s", 8.0), ("ms", 2.0), ("%", 2.0)])
def test_the_ratio_is_to_the_best_alternative_of_the_same_work(unit: str, best: float) -> None:
    rows = with_ratios(
        [
            Row("a", "minitf", 12.0, unit),
            Row("a", "first", 8.0, unit),
            Row("a", "second", 2.0, unit),
            Row("a", "first", 1000.0, "MiB"),
            Row("b", "first", 500.0, unit),
        ]
    )
    assert [row.ratio for row in rows] == [12 / best, 8 / best, 2 / best, 1.0, 1.0]


def test_own_rows_alone_have_no_ratio() -> None:
    rows = with_ratios([Row("a", "minitf", 3.0, "s"), Row("a", "minitf fit", 4.0, "s")])
    assert [row.ratio for row in rows] == [None, None]


def test_json_and_plot(tmp_path: Path) -> None:
    row = Row("training/tiny/float32/cpu", "minitf", 4711.0815, "tokens/s", 1.5, 0.1, 9.0, 0.25)
    found = Findings([row], [Failure("training/tiny/float32/cpu", "other", "gone")], ["remark"])
    write_json(tmp_path / "a.json", [found], {"device": "a"})
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["results"] == [
        {
            "work": "training/tiny/float32/cpu",
            "name": "minitf",
            "value": 4711.08,
            "unit": "tokens/s",
            "ratio": 1.5,
            "spread": 0.1,
            "peak_memory": 9.0,
            "peak_share": 0.25,
        }
    ]
    assert content["failures"][0]["reason"] == "gone"
    assert "remark" in content["remarks"]
    plot([row, Row("b", "other", 2.0, "ms")]).savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
