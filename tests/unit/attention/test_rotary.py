"""Rotary positions turn pairs of dimensions so that only distances matter."""

import cmath

import pytest
import torch

from minitf.attention import MultiHeadAttention
from minitf.attention.rotary import rotate, rotate_both

B, T, H, D = 2, 5, 3, 14


def test_against_complex_numbers():
    """Pair i at position m is multiplied by exp(j m base^(-2i/D))."""
    x = torch.randn(B, H, T, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = rotate(x, 100.0, offset=3)
    for m in range(T):
        for i in range(D // 2):
            angle = cmath.exp(1j * (m + 3) * 100.0 ** (-2 * i / D))
            z = complex(x[1, 2, m, i], x[1, 2, m, i + D // 2]) * angle
            assert turned[1, 2, m, i].item() == pytest.approx(z.real, abs=1e-14)
            assert turned[1, 2, m, i + D // 2].item() == pytest.approx(z.imag, abs=1e-14)


def test_scores_depend_on_the_distance_alone():
    q, k = torch.randn(2, 1, 1, 1, D, generator=torch.Generator().manual_seed(1)).double()
    near = rotate(q, 1e4, 7) @ rotate(k, 1e4, 4).mT
    far = rotate(q, 1e4, 100_007) @ rotate(k, 1e4, 100_004).mT
    torch.testing.assert_close(near, far, rtol=1e-9, atol=1e-9)
    assert (near - q @ k.mT).abs() > 1e-3


@pytest.mark.parametrize("length", [T, T + 2])
def test_queries_and_keys_are_turned_alike(length):
    generator = torch.Generator().manual_seed(2)
    q, k = (torch.randn(B, H, n, D, generator=generator) for n in (T, length))
    found = rotate_both(q, k, 100.0, offset=3)
    assert torch.equal(found[0], rotate(q, 100.0, offset=3))
    assert torch.equal(found[1], rotate(k, 100.0, offset=3))


def test_bfloat16_positions_beyond_256_differ():
    x = torch.ones(1, 1, 1, 2, dtype=torch.bfloat16)
    assert not torch.equal(rotate(x, 1e4, 257), rotate(x, 1e4, 258))


def test_order_matters_to_a_module_only_with_rotary_positions():
    torch.manual_seed(0)
    x = torch.randn(B, T, 12)
    for base, same in ((None, True), (100.0, False)):
        attention = MultiHeadAttention(12, 2, batch_first=True, rotary_base=base)
        forward = attention(x, x, x)[0]
        backward = attention(*[x.flip(1)] * 3)[0].flip(1)
        assert torch.allclose(forward, backward, atol=1e-6) is same
    assert "rotary" not in " ".join(attention.state_dict())
