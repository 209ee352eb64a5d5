"""onnxruntime computes the same logits, at sizes that the graph was not made with."""

import os
import subprocess
import sys

import pytest
import torch

import minitf

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason="pip install 'minitf[export]'")

pytestmark = pytest.mark.slow  # tracing takes half a minute

NAMES = ["small", "small_post_rotary"]
SCRIPT = """
import sys
from minitf.commands import main
for run, output in zip(sys.argv[1::2], sys.argv[2::2]):
    assert main(["export", run, "--to", "onnx", "--output", output]) == 0
"""


@pytest.fixture(scope="module")
def exports(run_of, tmp_path_factory):
    """All in one process of its own: tracing does not go with the shape checks of these tests."""
    directory = tmp_path_factory.mktemp("onnx")
    arguments = [str(x) for name in NAMES for x in (run_of(name), directory / name)]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("checked: largest difference of a logit") == len(NAMES)
    assert done.stderr == ""
    return {name: (minitf.load(run_of(name), device="cpu"), directory / name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_equal_at_any_size(exports, tokens, name):
    import onnxruntime

    translator, directory = exports[name]
    encoder, decoder = (
        onnxruntime.InferenceSession(str(directory / f"{side}.onnx"))
        for side in ("encoder", "decoder")
    )
    whole_src, whole_tgt = (x.repeat(1, 100) for x in tokens(translator))  # and what a user sends
    for rows, source, target in ((5, 17, 11), (1, 1, 1), (2, 3, 7), (1, 601, 701)):
        src, tgt = whole_src[-rows:, :source], whole_tgt[-rows:, :target]
        memory = encoder.run(None, {"src": src.numpy()})[0]
        inputs = {"tgt": tgt.numpy(), "memory": memory, "src": src.numpy()}
        found = torch.from_numpy(decoder.run(None, inputs)[0])
        with torch.inference_mode():
            expected = translator.model(src, tgt)
        difference = (found - expected).abs().max().item()
        assert difference < 1e-5 * max(1, expected.abs().max().item())


def test_the_example_of_the_model_card_runs(exports, run_example):
    run_example(*exports["small"])


def test_a_users_own_attention_in_the_encoder_alone(make_run, tmp_path):
    script = """
import sys, minitf
from minitf.attention import MultiHeadAttention
from minitf.export import export

class Sharp(MultiHeadAttention):
    def forward(self, query, key, value, **kwargs):
        return super().forward(3 * query, key, value, **kwargs)

model = minitf.load(sys.argv[1], device="cpu", attention=Sharp)
assert export(model, "onnx", sys.argv[2]).passed
"""
    small = ["model.num_encoder_layers=1", "model.num_decoder_layers=1"]
    run = make_run(*small, "model.attention_in=[encoder]")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, str(run), str(tmp_path / "out")],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
