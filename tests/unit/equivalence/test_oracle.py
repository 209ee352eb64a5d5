import math

import torch
from torch import nn

from minitf.attention import MultiHeadAttention
from minitf.equivalence.oracle import (
    OracleAttention,
    causal_mask,
    multi_head_attention,
    rotate,
    softmax,
)


def test_one_head_worked_out_by_hand():
    # Scores (ln 3)·√1 and 0 give weights 3/4 and 1/4; the values are 8 and 4.
    state = {
        "in_proj_weight": torch.ones(3, 1, dtype=torch.float64),
        "out_proj.weight": torch.tensor([[10.0]], dtype=torch.float64),
    }
    query = torch.tensor([[[1.0]]], dtype=torch.float64)
    key = torch.tensor([[[math.log(3)], [0.0]]], dtype=torch.float64)
    value = torch.tensor([[[8.0], [4.0]]], dtype=torch.float64)
    output, weights = multi_head_attention(state, query, key, value, num_heads=1)
    torch.testing.assert_close(weights.flatten().tolist(), [0.75, 0.25])
    torch.testing.assert_close(output.item(), 70.0)


def test_softmax_of_a_row_without_keys_is_zero_and_so_is_its_gradient():
    scores = torch.tensor([[1.0, 2.0], [-torch.inf, -torch.inf]], dtype=torch.float64)
    scores.requires_grad_()
    p = softmax(scores)
    (p * torch.tensor([[1.0, 5.0], [1.0, 5.0]], dtype=torch.float64)).sum().backward()
    assert p[1].tolist() == [0.0, 0.0]
    assert scores.grad[1].tolist() == [0.0, 0.0]
    torch.testing.assert_close(p[0], torch.softmax(scores[0], -1).detach())


def test_module_agrees_with_torch_in_float64():
    torch.manual_seed(3)
    theirs = nn.MultiheadAttention(14, 2, batch_first=True, dtype=torch.float64)
    mine = OracleAttention(14, 2)
    mine.load_state_dict(theirs.state_dict())
    query, key = torch.randn(3, 5, 14).double(), torch.randn(3, 7, 14).double()
    mask = torch.randn(6, 5, 7).double()
    padding = torch.arange(7) >= torch.tensor([7, 4, 2])[:, None]
    options = {"attn_mask": mask, "key_padding_mask": torch.zeros(3, 7).double().masked_fill(
        padding, -torch.inf)}  # fmt: skip
    for average in (True, False):
        options["average_attn_weights"] = average
        for x, y in zip(mine(query, key, key, **options), theirs(query, key, key, **options),
                        strict=True):  # fmt: skip
            torch.testing.assert_close(x, y, rtol=0, atol=1e-14)


def test_a_query_without_keys_gives_zero_or_the_bias():
    torch.manual_seed(3)
    state = dict(OracleAttention(6, 2).named_parameters())
    with torch.no_grad():
        state["out_proj.bias"].fill_(2.5)
    x = torch.randn(1, 3, 6).double()
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[1] = True
    zero, weights = multi_head_attention(state, x, x, x, num_heads=2, attn_mask=mask)
    bias, _ = multi_head_attention(state, x, x, x, num_heads=2, attn_mask=mask, blind_zero=False)
    assert (zero[0, 1] == 0).all()
    assert (bias[0, 1] == 2.5).all()
    assert (weights[0, :, 1] == 0).all()
    assert torch.equal(zero[0, [0, 2]], bias[0, [0, 2]])


def test_rotary_positions_are_the_modules():
    torch.manual_seed(3)
    theirs = MultiHeadAttention(12, 2, batch_first=True, rotary_base=100.0, dtype=torch.float64)
    mine = OracleAttention(12, 2, rotary_base=100.0)
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 7, 12).double()
    mask = causal_mask(7, 7)
    output, _ = theirs(x, x, x, attn_mask=mask, need_weights=False)
    torch.testing.assert_close(mine(x, x, x, is_causal=True)[0], output, rtol=0, atol=1e-14)


def test_rotation_keeps_lengths_and_turns_by_the_position():
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], dtype=torch.float64)
    turned = rotate(x, base=10_000.0)
    angles = torch.atan2(turned[:, 1], turned[:, 0])
    torch.testing.assert_close(angles, torch.tensor([0.0, 1.0, 2.0]).double(), rtol=0, atol=1e-14)
