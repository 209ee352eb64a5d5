import pytest
import torch

from minitf.equivalence.ulp import perturb, same_bits, ulp_distance, ulp_size

DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES)
def test_neighbours_are_one_apart_on_both_sides_of_a_power_of_two(dtype):
    eps = torch.finfo(dtype).eps
    x = torch.tensor([1.0, 1.0, -2.0], dtype=dtype)
    y = torch.tensor([1.0 + eps, 1.0 - eps / 2, -2.0 - 2 * eps], dtype=dtype)
    assert ulp_distance(x, y).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_distance_across_zero_counts_both_sides(dtype):
    tiny = torch.finfo(dtype).smallest_normal * torch.finfo(dtype).eps  # the smallest there is
    x = torch.tensor([tiny, 0.0], dtype=dtype)
    y = torch.tensor([-2 * tiny, -0.0], dtype=dtype)
    assert ulp_distance(x, y).tolist() == [3.0, 0.0]


def test_distance_of_the_largest_floats_of_either_sign_does_not_overflow():
    most = torch.finfo(torch.float64).max
    distance = ulp_distance(
        torch.tensor([most], dtype=torch.float64), torch.tensor([-most], dtype=torch.float64)
    )
    assert float(distance) == pytest.approx(2 * 0x7FEFFFFFFFFFFFFF)


def test_not_a_number_equals_itself_and_is_infinitely_far_from_the_rest():
    nan, one = torch.tensor([torch.nan]), torch.tensor([1.0])
    assert ulp_distance(nan, nan).item() == 0
    assert ulp_distance(nan, one).item() == torch.inf
    assert same_bits(nan, nan)
    assert not same_bits(nan, one)


def test_bits_tell_zeros_shapes_and_types_apart():
    zero = torch.zeros(3)
    assert same_bits(zero, zero.clone())
    assert not same_bits(zero, -zero)
    assert not same_bits(zero, zero[None])
    assert not same_bits(zero, zero.double())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [1.0, 1.999, 2.0, 0.3, 1000.0])
def test_size_of_a_unit_is_the_gap_to_the_next_number(dtype, value):
    x = torch.tensor(value, dtype=dtype)
    step = torch.tensor(ulp_size(float(x), dtype), dtype=torch.float64)
    assert ulp_distance(x[None], (x.double() + step).to(dtype)[None]).item() == 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_perturb_moves_every_element_to_a_neighbour_in_both_directions(dtype):
    x = torch.randn(97, generator=torch.Generator().manual_seed(5)).to(dtype)
    moved = perturb(x, torch.Generator().manual_seed(6))
    assert (ulp_distance(x, moved) == 1).all()
    assert (moved > x).any()
    assert (moved < x).any()
