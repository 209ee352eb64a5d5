"""`minitf bench` prints and writes what was measured."""

import json
from pathlib import Path

import pytest

from minitf import commands
from minitf.bench import attention


def test_rows_are_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attention, "QUICK", (attention.Work((2, 5, 12, 3)),))
    file = tmp_path / "a.json"
    assert commands.main(["bench", "attention", "--quick", "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["results"]
    assert {row["work"] for row in rows} == {"attention/2x5x12x3/training/float32/cpu"}
    assert rows[0]["name"] == "torch.nn.MultiheadAttention"
    assert rows[0]["ratio"] == 1.0
    assert all(row["value"] > 0 and row["unit"] == "ms" for row in rows)
    assert [row["name"] for row in rows[1:]] == [
        f"minitf {kernel}" for kernel in ("auto", "math", "fused", "fast")
    ]
    assert "minitf fast" in capsys.readouterr().out


def test_an_unknown_work_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["bench", "attentoin"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "attention" in err
