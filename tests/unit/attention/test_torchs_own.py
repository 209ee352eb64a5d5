"""torch's own test file for its module, run against this class.

It is not in torch's wheel: point MINITF_TORCH_TESTS at a checkout of pytorch whose version is about
that of the torch that is installed.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = os.environ.get("MINITF_TORCH_TESTS")

MAY_FAIL = {
    "nested_tensor_outside_fast_path": "wants a refusal; nested tensors work here with gradients",
    "two_masks_fast_path_mock": "wants torch._native_multi_head_attention called; it never is here",
}
"""Parts of names, and why such a test fails."""

RUN = """
import sys
import torch.nn.modules.transformer as transformer
from torch import nn
from minitf.attention import MultiHeadAttention

if sys.argv[2] == "ours":
    for namespace in (nn, nn.modules, nn.modules.activation, transformer):
        namespace.MultiheadAttention = MultiHeadAttention

import pytest
sys.exit(pytest.main(["-q", "--no-header", "-rfE", "-p", "no:cacheprovider", sys.argv[1]]))
"""


def failures(whose, folder):
    """Names of the tests that fail with `ours` or `theirs`."""
    file = Path(CHECKOUT).resolve() / "test" / "nn" / "test_multihead_attention.py"
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(file), whose],
        cwd=folder,
        env=os.environ | {"PYTORCH_TESTING_DEVICE_ONLY_FOR": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout + done.stderr
    assert int(passed.group(1)) >= 8
    return set(re.findall(r"^(?:FAILED|ERROR) \S*::(\w+)", done.stdout, flags=re.MULTILINE))


@pytest.mark.skipif(CHECKOUT is None, reason="MINITF_TORCH_TESTS names no checkout of pytorch")
def test_torchs_tests_pass_but_for_those_named(tmp_path):
    """A test that fails with torch's own class too is of another version's behaviour."""
    ours, theirs = failures("ours", tmp_path), failures("theirs", tmp_path)
    unnamed = {name for name in ours - theirs if not any(part in name for part in MAY_FAIL)}
    assert not unnamed
