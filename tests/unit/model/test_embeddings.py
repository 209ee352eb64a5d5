"""Token embeddings and positions."""

import math

import pytest
import torch

from minitf.model.embeddings import (
    LearnedPositions,
    ScaledEmbedding,
    SinusoidalPositions,
    sinusoids,
)


def test_embedding_is_scaled_by_sqrt_of_its_width():
    torch.manual_seed(0)
    embedding = ScaledEmbedding(7, 16)
    tokens = torch.tensor([[3, 5, 0]])
    torch.testing.assert_close(embedding(tokens), embedding.weight[tokens] * 4.0, rtol=0, atol=0)


@pytest.mark.parametrize("embed_dim", [6, 7])
def test_sinusoids_are_the_papers(embed_dim):
    table = SinusoidalPositions(embed_dim)(start=0, length=11)
    halves = math.ceil(embed_dim / 2)
    for position in range(11):
        for i in range(halves):
            angle = position / 10_000 ** (2 * i / embed_dim)
            assert table[position, i].item() == pytest.approx(math.sin(angle), abs=1e-7)
            if halves + i < embed_dim:
                assert table[position, halves + i].item() == pytest.approx(
                    math.cos(angle), abs=1e-7
                )


def test_sinusoids_grow_on_demand_without_changing_what_was_there():
    positions = SinusoidalPositions(6, initial_length=5)
    before = positions(0, 5).clone()
    longer = positions(3, 14)
    assert longer.shape == (14, 6)
    assert torch.equal(positions(0, 5), before)
    assert torch.equal(longer, SinusoidalPositions(6, initial_length=17)(3, 14))


def test_a_table_that_was_read_stays_where_it_is():
    """A CUDA graph reads it there, whatever comes to be asked for later."""
    positions = SinusoidalPositions(6, initial_length=5)
    address = positions(0, 7).data_ptr()
    positions(0, 90)
    again = next(table for table in positions._longer if table.data_ptr() == address)
    assert torch.equal(again[:5], positions.table)


def test_sinusoids_keep_their_dtype_when_they_grow_and_are_not_saved():
    positions = SinusoidalPositions(6, initial_length=5).to(torch.float64)
    assert positions(0, 9).dtype == torch.float64
    assert positions.state_dict() == {}


def test_what_grows_in_validation_is_no_part_of_an_average_nor_bound_to_inference():
    """Averaged copies swap buffers with the model: their sizes must stay alike."""
    positions = SinusoidalPositions(6, initial_length=5)
    with torch.inference_mode():
        positions(0, 9)
    assert [buffer.shape for buffer in positions.buffers()] == [(5, 6)]
    weight = torch.ones(6, requires_grad=True)
    (positions(0, 9) * weight).sum().backward()  # an inference tensor could not be saved for this
    assert torch.equal(weight.grad, sinusoids(9, 6).sum(0))


def test_learned_positions_refuse_more_than_they_have():
    positions = LearnedPositions(6, max_length=5)
    assert torch.equal(positions(2, 3), positions.weight[2:5])
    with pytest.raises(ValueError, match=r"vectors for 5 positions, got a sequence of 6 tokens"):
        positions(2, 4)
