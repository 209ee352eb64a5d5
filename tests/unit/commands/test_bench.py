"""`minitf bench` prints and writes what was measured."""

import json
from pathlib import Path

import pytest

from minitf import commands
from minitf.bench import attention
from minitf.commands.bench import parse


def test_rows_are_printed_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attention, "QUICK", (attention.Work((2, 5, 12, 3)),))
    monkeypatch.chdir(tmp_path)
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
    assert (tmp_path / "bench.png").stat().st_size > 1000


def test_of_several_works_one_that_fails_keeps_none_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attention, "QUICK", (attention.Work((2, 5, 12, 3)),))
    monkeypatch.chdir(tmp_path)
    works = ["padding", "attention", "decoding", "--run", "no/such/run", "data=reverse"]
    overrides = ["data.min_length=3000", "data.max_length=3100", "data.train_size=11"]
    assert commands.main(["bench", *works, *overrides, "--quick", "--json", "a.json"]) == 0
    found = json.loads(Path("a.json").read_text())
    assert {row["work"] for row in found["results"]} == {"attention/2x5x12x3/training/float32/cpu"}
    assert [failure["work"] for failure in found["failures"]] == ["padding", "decoding"]
    assert "no/such/run" in capsys.readouterr().out


def test_an_unknown_work_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.main(["bench", "attentoin"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "attention" in err


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["training", "--fast"], "--fast"),
        (["padding", "data=scenses"], "scenses"),
        (["padding", "batching.token=5"], "did you mean tokens"),
        (["training", "data=text_files"], "data.root"),
        (["startup", "--json", "no/such/folder/a.json"], "no/such/folder"),
        (["decoding", "--run", "no/such/run"], "no/such/run"),
        (["decoding", "--run", "no/such/run", "data=scenes"], "leave out data=scenes"),
        (["attention", "model=small"], "leave out model=small"),
        (["padding", "--run", "no/such/run"], "--run is for decoding"),
        (["padding", "--compile"], "--compile is for training"),
        (["padding", "--precision", "float32"], "--precision is for training"),
        (["training", "--precision", "float16"], "float16"),
        (["training", "optimizer=adamw"], "leave out optimizer=adamw"),
        (["padding", "--plot", "a.xyz"], ".png"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line(
    arguments: list[str], wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert commands.main(["bench", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert wrong in err


def test_words_options_and_overrides_come_in_any_order() -> None:
    works, overrides, options = parse(["--quick", "training", "data=copy", "--compile", "seed=3"])
    assert (works, overrides) == (["training"], ["data=copy", "seed=3"])
    assert options.quick
    assert options.compile
    assert parse([])[0] == ["training", "attention", "decoding", "padding", "startup"]


def test_padding_of_any_data_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, picture = tmp_path / "a.json", tmp_path / "a.png"
    data = ["data=reverse", "data.train_size=503", "tokenizer=char"]
    command = ["bench", "padding", *data, "--quick", "--json", str(file), "--plot", str(picture)]
    assert commands.main(command) == 0
    rows = json.loads(file.read_text())["results"]
    assert [row["work"] for row in rows[::3]] == ["padding/2048", "padding/4096", "padding/8192"]
    assert rows[0]["ratio"] == pytest.approx(rows[0]["value"] / rows[1]["value"], rel=1e-4)
    assert picture.stat().st_size > 1000
    assert "503 pairs of reverse" in capsys.readouterr().out
