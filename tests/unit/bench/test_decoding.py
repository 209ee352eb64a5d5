"""Every engine is given the same sentences and weights, and writes the same."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from minitf.bench.decoding import decoding_task, implementations, rows, sources_of
from minitf.bench.rounds import Measured, measure
from minitf.config.schema import DecodingConfig, DecodingMethod
from minitf.evaluation import load
from minitf.export.export import export

BEAM = DecodingConfig(method=DecodingMethod.beam, beam_size=3)


@pytest.fixture(scope="module")
def run_dir(make_run: Callable[..., Path]) -> Path:
    return make_run("data.test_size=11")


@pytest.mark.parametrize("config", [DecodingConfig(), BEAM], ids=["greedy", "beam"])
@pytest.mark.parametrize(
    "engine", [pytest.param("transformers", marks=pytest.mark.slow), "ctranslate2"]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_an_engine_writes_what_minitf_writes(
    engine: str, config: DecodingConfig, run_dir: Path, tmp_path: Path
) -> None:
    pytest.importorskip(engine, reason="pip install 'minitf[bench]'")
    translator = load(run_dir)
    sources = sources_of(translator, 11)
    assert len(sources) == 11
    file = tmp_path / "task.json"
    file.write_text(json.dumps(decoding_task(translator, sources, config)))
    export(translator, engine, tmp_path / engine)
    chosen = implementations(file, run_dir, {engine: tmp_path / engine}, "cpu")
    own, other = measure(chosen[:2], rounds=1)
    assert own.error is None, own.error
    assert other.error is None, other.error
    assert len(own.warm_up["outputs"]) == 11
    assert own.rounds[0]["tokens"] == sum(map(len, own.warm_up["outputs"]))
    assert len(other.warm_up["outputs"]) == 11
    if config is not BEAM:  # a beam search that does not end by itself ends as each engine likes
        # The engines' limit is their batch's longest; minitf's is each sentence's own.
        for ours, theirs in zip(own.warm_up["outputs"], other.warm_up["outputs"], strict=True):
            assert theirs[: len(ours)] == ours


def test_rows_are_sentences_then_tokens_and_say_how_many_outputs_are_equal() -> None:
    def measured(name: str, seconds: float, outputs: list[list[int]]) -> Measured:
        figures = {"seconds": seconds, "sentences": 2, "tokens": 6}
        return Measured(name, warm_up={"outputs": outputs}, rounds=[figures])

    own = measured("minitf", 0.5, [[1], [2]])
    found = rows("w", [own, measured("other", 2.0, [[1], [3]])], own)
    assert [(r.name, r.unit, r.value, r.note) for r in found] == [
        ("minitf", "sentences/s", 4.0, ""),
        ("other", "sentences/s", 1.0, "50.0% equal outputs"),
        ("minitf", "tokens/s", 12.0, ""),
        ("other", "tokens/s", 3.0, ""),
    ]
