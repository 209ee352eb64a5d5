"""Nothing is left on the CPU where the model is elsewhere: shown without an accelerator."""

import json
import os
import subprocess
import sys

import pytest

from tests.integration.conftest import TOY
from tests.integration.test_bit_identical_runs import numbers

SIMULATED = "tests.integration.simulated_device"
ATTENTION = f"""
import itertools
import torch
from minitf.attention import MultiHeadAttention
from {SIMULATED} import SimulatedDevice, register

B, T, E, H = 3, 7, 20, 5
DEVICE = register()
kernels = ["math", "fused", "fast", "auto"]
constructors = [
    {{}}, {{"add_bias_kv": True}}, {{"add_zero_attn": True}}, {{"dropout": 0.1}},
    {{"rotary_base": 1e4}}, {{"kdim": E, "vdim": E, "bias": False}},
]
masks = [
    {{}},
    {{"is_causal": True}},
    {{"key_padding_mask": torch.arange(T) >= torch.tensor([[T], [2], [0]])}},
    {{"attn_mask": torch.ones(T, T, dtype=torch.bool).triu(1), "is_causal": True}},
    {{"attn_mask": torch.randn(B, T, T)}},
]
number = 0
with SimulatedDevice():
    for kernel, options, given in itertools.product(kernels, constructors, masks):
        torch.manual_seed(number)
        there = MultiHeadAttention(E, H, batch_first=True, kernel=kernel, **options)
        here = MultiHeadAttention(E, H, batch_first=True, kernel=kernel, **options)
        here.load_state_dict(there.state_dict())
        there.to(DEVICE)
        moved = {{k: v if v is True else v.to(DEVICE) for k, v in given.items()}}
        x = torch.randn(B, T, E)
        for training in (True, False) if not options.get("dropout") else (False,):
            leaf, copy = x.clone().requires_grad_(), x.to(DEVICE).requires_grad_()
            expected, _ = here.train(training)(leaf, leaf, leaf, need_weights=False, **given)
            found, _ = there.train(training)(copy, copy, copy, need_weights=False, **moved)
            expected.square().sum().backward()
            found.square().sum().backward()
            torch.testing.assert_close(found.cpu(), expected)
            torch.testing.assert_close(copy.grad.cpu(), leaf.grad)
            number += 1
        if options.get("dropout"):
            there.train()(x.to(DEVICE), x.to(DEVICE), x.to(DEVICE), need_weights=False, **moved)
print(number, "calls")
"""
A_CPU_MASK = f"""
import torch
from minitf.attention import MultiHeadAttention, masks
from {SIMULATED} import SimulatedDevice, register

DEVICE = register()
made = masks.causal_mask
masks.causal_mask = lambda T, S, device, offset=0: made(T, S, torch.device("cpu"), offset)
with SimulatedDevice():
    x = torch.randn(3, 7, 20, device=DEVICE)
    padding = torch.zeros(3, 7, dtype=torch.bool, device=DEVICE)
    attention = MultiHeadAttention(20, 5, batch_first=True, device=DEVICE)
    attention(x, x, x, key_padding_mask=padding, is_causal=True, need_weights=False)
"""

DETERMINISTIC_SAMPLING = f"""
import torch
from minitf.config.schema import DecodingConfig
from minitf.decoding.sampling import choose
from {SIMULATED} import SimulatedDevice, register

DEVICE = register()
torch.manual_seed(5)
logits = torch.randn(7, 3, 101, dtype=torch.float64)
uniform = torch.rand(7, 3, dtype=torch.float64)
with SimulatedDevice():
    for config in (DecodingConfig(), DecodingConfig(top_k=11, top_p=0.8)):
        expected = choose(logits, uniform, config)
        # The simulated device has no float64 of its own.
        torch.use_deterministic_algorithms(True)
        found = choose(logits.float().to(DEVICE), uniform.float().to(DEVICE), config)
        torch.use_deterministic_algorithms(False)
        assert torch.equal(found.cpu(), expected)
print("equal")
"""


def run(*arguments, cwd):
    root = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root},
    )  # fmt: skip


def test_every_call_of_the_attention(tmp_path):
    done = run("-c", ATTENTION, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "220 calls\n"


def test_the_simulation_sees_what_was_left_on_the_cpu(tmp_path):
    done = run("-c", A_CPU_MASK, cwd=tmp_path)
    assert "tensors on two devices; on the CPU: [torch.Size([1, 1, 7, 7])]" in done.stderr


def test_sampling_with_deterministic_algorithms(tmp_path):
    done = run("-c", DETERMINISTIC_SAMPLING, cwd=tmp_path)
    assert done.stdout == "equal\n", done.stderr


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["attention.kernel=fast", "model.positions=rotary", "model.activation=swiglu",
         "objective.r_drop=3", "model.activation_dropout=1e-9",  # which drops nothing
         "callbacks=ema", "trainer.accumulate_grad_batches=2",
         "evaluation.decoding.method=beam", "evaluation.average_best=2",
         "trainer.log_every_n_steps=7"],
    ],
    ids=["default", "options"],
)  # fmt: skip
def test_a_whole_run_and_its_resumption(tmp_path, options):
    """The same losses, scores and samples as on the CPU; dropout would draw other numbers."""
    found = {}
    for device in ("cpu", "simulated"):
        strategy = f"trainer.strategy={'auto' if device == 'cpu' else device}"
        toy = [*TOY, "model.dropout=0", f"trainer.accelerator={device}", strategy, *options]
        first, second = [*toy, f"run_dir={device}"], [f"resume={device}", "trainer.max_steps=44"]
        for arguments in (first, second):
            done = run("-m", SIMULATED, *arguments, cwd=tmp_path)
            assert done.returncode == 0, done.stdout + done.stderr
        results = json.loads((tmp_path / device / "results.json").read_text())
        samples = (tmp_path / device / "samples.txt").read_text()
        found[device] = numbers(tmp_path / device / "metrics.csv"), results, samples
    (here, scores, samples), (there, other_scores, other_samples) = found.values()
    assert len(here) == len(there) > 10
    for row, other in zip(here, there, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            assert bool(value) == bool(other[name])
            if value:
                assert float(other[name]) == pytest.approx(float(value), rel=1e-3), name
    assert other_samples == samples
    assert scores["device"].startswith("CPU")
    assert other_scores["device"].startswith("SIMULATED")
