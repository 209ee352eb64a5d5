"""Projecting, splitting and merging, by small numbers; shapes are checked while testing."""

import os

import pytest
import torch

from minitf.attention.functional import (
    HeadLayout,
    append_learned_key,
    append_zero_key,
    merge_heads,
    project_inputs,
    project_query,
    split_heads,
)

L, B, H, D = 5, 3, 2, 7
E = H * D
LAYOUTS = [HeadLayout(H, first, slices) for first in (True, False) for slices in (True, False)]


def tensor(batch_first, seed=0):
    shape = (B, L, E) if batch_first else (L, B, E)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_head_is_a_slice_of_the_features(layout):
    x = tensor(layout.batch_first)
    split = split_heads(x, layout)
    assert split.shape == (B, H, L, D)
    for b in range(B):
        of_sentence = x[b] if layout.batch_first else x[:, b]
        for h in range(H):
            assert torch.equal(split[b, h], of_sentence[:, h * D : (h + 1) * D])
    assert torch.equal(merge_heads(split, layout.batch_first), x)
    assert split.data_ptr() == x.data_ptr()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("with_bias", [True, False])
def test_packed_projections_equal_separate_ones(layout, with_bias):
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(3 * E, E, generator=generator).double()
    bias = torch.randn(3 * E, generator=generator).double() if with_bias else None
    query, key = tensor(layout.batch_first), tensor(layout.batch_first, 2)
    for inputs in ((query, query, query), (query, key, key), (query, key, query)):
        got = project_inputs(*inputs, weight, bias, layout)
        for i, (x, part) in enumerate(zip(inputs, got, strict=True)):
            rows = slice(i * E, (i + 1) * E)
            want = x @ weight[rows].T + (0 if bias is None else bias[rows])
            torch.testing.assert_close(part, split_heads(want, layout))
        alone = project_query(inputs[0], weight, bias, layout)
        torch.testing.assert_close(alone, got[0])


def test_appended_keys():
    x = split_heads(tensor(True), LAYOUTS[0])
    row = torch.arange(E).double()[None, None]
    learned, zero = append_learned_key(x, row), append_zero_key(x)
    assert torch.equal(learned[:, :, :-1], x)
    assert torch.equal(zero[:, :, :-1], x)
    assert torch.equal(learned[1, 1, -1], row[0, 0, D:])
    assert (zero[:, :, -1] == 0).all()


@pytest.mark.skipif(os.environ.get("MINITF_TYPECHECK") == "0", reason="shape checks are off")
def test_shapes_are_checked_while_testing():
    with pytest.raises(Exception, match="merge_heads") as error:
        merge_heads(torch.zeros(B, H, D), True)
    assert "jaxtyping" in type(error.value).__module__
