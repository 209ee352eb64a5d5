"""A packed weight's products are the linear layer's, for any number of rows and any strides."""

import pytest
import torch
import torch.nn.functional as F

from minitf.model import packed as packed_module
from minitf.model.packed import MOST_ROWS, PackedWeight

needs_onednn = pytest.mark.skipif(not torch._C._has_mkldnn, reason="this torch has no oneDNN")


@needs_onednn
@pytest.mark.parametrize("rows", [1, 5, 67, 257])
@pytest.mark.parametrize("transposed", [False, True])
def test_products_are_the_linear_layers(rows, transposed):
    generator = torch.Generator().manual_seed(17)
    weight = torch.randn(101, 31, generator=generator)
    if transposed:
        weight = weight.t()
    x = torch.randn(rows, 2, weight.size(1), generator=generator)[:, 1]
    found = PackedWeight(weight, 67).product(x)
    expected = F.linear(x.double(), weight.double())
    error, torchs = found - expected, F.linear(x, weight) - expected
    assert error.abs().max() <= max(2 * float(torchs.abs().max()), 1e-6)


@needs_onednn
def test_it_keeps_the_weight_of_the_time():
    weight = torch.randn(53, 29, generator=torch.Generator().manual_seed(1))
    x = torch.randn(7, 29, generator=torch.Generator().manual_seed(2))
    packed = PackedWeight(weight, 7)
    before = packed.product(x)
    weight.zero_()
    assert torch.equal(packed.product(x), before)
    assert before.abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_it_is_for_float32_alone(dtype):
    assert not PackedWeight.suits(torch.zeros(3, 5, dtype=dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert not PackedWeight.suits(torch.zeros(3, 5))
    assert PackedWeight.suits(torch.zeros(3, 5)) == torch._C._has_mkldnn


@needs_onednn
def test_many_rows_are_for_mkl_on_a_cpu_by_its_maker(monkeypatch):
    weight = torch.zeros(3, 5)
    monkeypatch.setattr(packed_module, "is_by_mkls_maker", lambda: True)
    assert PackedWeight.suits(weight, MOST_ROWS)
    assert not PackedWeight.suits(weight, MOST_ROWS + 1)
    monkeypatch.setattr(packed_module, "is_by_mkls_maker", lambda: False)
    assert PackedWeight.suits(weight, MOST_ROWS + 1)
