"""Workers take turns, and one that fails takes nobody along."""

from pathlib import Path

import pytest

from minitf.bench.rounds import Implementation, measure
from minitf.bench.worker import not_installed


@pytest.fixture(autouse=True)
def _workers_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def worker(function: str, **arguments: object) -> Implementation:
    return Implementation(function, "workers", function, arguments)


def test_the_warm_up_is_kept_apart_and_printing_does_no_harm() -> None:
    [found] = measure([worker("counts", step=3)], rounds=2)
    assert found.error is None
    assert found.facts == {"step": 3}
    assert found.warm_up["value"] == 0
    assert [r["value"] for r in found.rounds] == [3, 6]
    assert found.peak_memory is not None
    assert 1 < found.peak_memory < 10_000  # MiB


def test_rounds_are_interleaved(tmp_path: Path) -> None:
    file = tmp_path / "order"
    measure([worker("logs", name=n, file=str(file)) for n in "ab"], rounds=2)
    assert file.read_text().split() == ["0a", "0b", "1a", "1b", "2a", "2b"]


def test_a_failure_is_one_line_and_the_others_go_on() -> None:
    works, died, raised, lacking, unknown = measure(
        [
            worker("counts", step=1),
            worker("dies"),
            worker("raises"),
            worker("lacks", package="no_such_package_7"),
            worker("absent_function"),
        ],
        rounds=1,
    )
    assert [r["value"] for r in works.rounds] == [1]
    assert died.error == "its process was ended with exit code 7: out of luck"
    assert raised.error == "ValueError: two lines"
    assert lacking.error == "no_such_package_7 is not installed: pip install no_such_package_7"
    assert unknown.error is not None
    assert "absent_function" in unknown.error
    assert all(one.rounds == [] for one in (died, raised, lacking, unknown))


def test_a_package_of_the_extra_names_the_extra() -> None:
    error = ModuleNotFoundError("No module named 'x_transformers'", name="x_transformers")
    assert not_installed(error) == "x_transformers is not installed: pip install 'minitf[bench]'"
