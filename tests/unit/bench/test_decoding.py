"""Every engine is given the same sentences and weights, and writes the same."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest

from minitf.bench.alternatives.decode import take_turns
from minitf.bench.decoding import Flops, decoding_task, implementations, rows, sources_of
from minitf.bench.hardware import weights_met
from minitf.bench.rounds import Measured, Rounds, measure
from minitf.config.schema import DecodingConfig, DecodingMethod
from minitf.evaluation import load
from minitf.export.export import export
from minitf.model import Transformer

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
    assert {r.peak_share for r in found} == {None}
    flops = Flops(sources=4.0, target=3.0)  # 6 tokens and 2 of EOS
    used = [r.peak_share for r in rows("w", [own], own, flops, peak=112.0)]
    assert used == [(4 + 3 * 8) / 0.5 / 112] * 2


def test_arithmetic_is_counted_by_the_matrices_that_a_token_meets() -> None:
    model = Transformer(
        11, embed_dim=6, num_heads=2, num_encoder_layers=2, num_decoder_layers=3, feedforward_dim=5
    )
    encoder = 2 * (4 * 6 * 6 + 2 * 5 * 6)
    keys_and_values = 3 * 2 * 6 * 6
    decoder = 3 * (6 * 6 * 6 + 2 * 5 * 6) + 11 * 6
    assert weights_met(model) == (encoder + keys_and_values, decoder)


class Heard:
    """A parent's word for three rounds, and what was answered."""

    def __init__(self) -> None:
        self.numbers = iter([0, 1, 2, None])
        self.answers: list[dict[str, object]] = []

    def ready(self, **facts: object) -> None:
        assert facts == {}

    def wait(self) -> int | None:
        return next(self.numbers)

    def report(self, **figures: object) -> None:
        self.answers.append(figures)


def test_the_fastest_way_is_found_in_the_warm_up_and_kept() -> None:
    calls: list[str] = []

    def way(name: str, seconds: float) -> list[list[int]]:
        calls.append(name)
        time.sleep(seconds)
        return [[3, 4], [5]]

    heard = Heard()
    ways = {"slow": partial(way, "slow", 0.2), "quick": partial(way, "quick", 0.0)}
    take_turns(cast(Rounds, heard), ways)
    assert calls == ["slow", "slow", "quick", "quick", *3 * ["quick"]]
    first, *others = heard.answers
    assert (first["settings"], first["outputs"]) == ("quick", [[3, 4], [5]])
    assert all((one["sentences"], one["tokens"]) == (2, 3) for one in heard.answers)
    assert not any("outputs" in one for one in others)
