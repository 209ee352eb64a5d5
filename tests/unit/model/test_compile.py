"""torch.compile takes the training forward in one graph, or all layers of a kind in one.

In a process of its own, without the shape checks that tests put into the package: torch.compile
cannot trace those.
"""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import torch
from torch import nn
from minitf.attention import MultiHeadAttention
from minitf.model import Transformer, label_smoothed_cross_entropy, linear_cross_entropy

attention = {attention}
for options in {options}:
    torch.manual_seed(0)
    model = Transformer(29, embed_dim=18, num_heads=3, feedforward_dim=37, dropout=0.0,
                        num_encoder_layers=1, num_decoder_layers=1, attention=attention, **options)
    src, tgt = torch.randint(3, 29, (5, 7)), torch.randint(3, 29, (5, 11))
    src[2, 4:] = 0

    def step(fused, src=src, tgt=tgt):
        hidden = model.hidden(src, tgt[:, :-1])
        if fused:
            weight = model.output_projection.weight
            return linear_cross_entropy(hidden, weight, tgt[:, 1:], label_smoothing=0.1).loss
        return label_smoothed_cross_entropy(model.project(hidden), tgt[:, 1:]).loss

    compiled = torch.compile(step, fullgraph=True)
    for fused in (False, True):
        grads = []
        for run in (step, compiled):
            model.zero_grad()
            loss = run(fused)
            loss.backward()
            grads.append([loss.detach(), *(p.grad.clone() for p in model.parameters())])
        for eager, graph in zip(*grads):
            torch.testing.assert_close(graph, eager, rtol=1e-4, atol=1e-5)
"""
LAYERS = """
import copy
import torch
from torch import nn
from torch._dynamo.utils import counters
from minitf.attention import MultiHeadAttention
from minitf.model import Transformer

compile = torch.compile
torch.compile = lambda function, **options: compile(function, backend="aot_eager", **options)
attention = {attention}
torch.manual_seed(0)
model = Transformer(29, embed_dim=18, num_heads=3, feedforward_dim=37, dropout=0.0,
                    num_encoder_layers=3, num_decoder_layers=2, attention=attention)
compiled = copy.deepcopy(model)
compiled.compile_layers()

def gradients(model, src, tgt):
    model.zero_grad()
    model.hidden(src, tgt).square().sum().backward()
    return [p.grad for p in model.parameters()]

for B, S, T in [(5, 7, 11), (3, 13, 2), (2, 5, 17)]:
    src, tgt = torch.randint(3, 29, (B, S)), torch.randint(3, 29, (B, T))
    src[1, S // 2:] = 0
    for found, expected in zip(gradients(compiled, src, tgt), gradients(model, src, tgt)):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
print(counters["stats"]["unique_graphs"], "graphs for training")
compiled.eval().hidden(src, tgt)
assert list(compiled.state_dict()) == list(model.state_dict())
print(counters["stats"]["unique_graphs"], "graphs after evaluation")
"""
OPTIONS = [
    [{"norm": "pre", "positions": "sinusoidal"}],
    [{"norm": "post", "positions": "learned", "activation": "swiglu", "tied_embeddings": "untied"}],
]


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["MultiHeadAttention", "nn.MultiheadAttention"])
@pytest.mark.parametrize("options", OPTIONS)
def test_training_step_is_one_graph(attention, options):
    program = PROGRAM.format(attention=attention, options=options)
    environment = {**os.environ, "MINITF_TYPECHECK": "0"}
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.parametrize("attention", ["MultiHeadAttention", "nn.MultiheadAttention"])
def test_layers_of_a_kind_are_one_graph_for_all_shapes(attention):
    environment = {**os.environ, "MINITF_TYPECHECK": "0"}
    result = subprocess.run(
        [sys.executable, "-c", LAYERS.format(attention=attention)],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout == "2 graphs for training\n2 graphs after evaluation\n"
