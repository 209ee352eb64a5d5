"""The distributions that weights start from."""

import math

import pytest
import torch
from torch import nn

from minitf.attention import MultiHeadAttention
from minitf.model import Transformer


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Transformer(1009, embed_dim=64, num_heads=4, tied_embeddings="untied",
                       positions="learned", max_length=97)  # fmt: skip


def test_matrices_are_xavier_uniform(model):
    matrices = {
        name: p for name, p in model.named_parameters()
        if p.dim() == 2 and "embedding" not in name and "positions" not in name
    }  # fmt: skip
    assert len(matrices) == 2 * 4 + 2 * 6 + 1
    for name, weight in matrices.items():
        bound = math.sqrt(6 / sum(weight.shape))
        assert weight.abs().max().item() <= bound, name
        # Of n uniform numbers the largest is within 20 / n of the bound, but for e^-20.
        assert weight.abs().max().item() > bound * (1 - 20 / weight.numel()), name
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.05), name


def test_embeddings_and_positions_are_normal_and_padding_is_zero(model):
    for name, rows in (
        ("src_embedding", slice(1, None)), ("tgt_embedding", slice(1, None)),
        ("src_positions", slice(None)), ("tgt_positions", slice(None)),
    ):  # fmt: skip
        weight = getattr(model, name).weight.detach()
        assert weight[rows].std().item() == pytest.approx(64**-0.5, rel=0.03), name
        assert weight.abs().max() > 3 * 64**-0.5, name  # no uniform would
    assert model.src_embedding.weight[0].abs().max() == 0
    assert model.tgt_embedding.weight[0].abs().max() == 0


def test_biases_are_zero_and_norms_are_one(model):
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert parameter.abs().max() == 0, name
        elif "norm" in name:
            assert torch.equal(parameter, torch.ones_like(parameter)), name


def test_both_attentions_start_from_the_same_weights():
    def weights(attention):
        torch.manual_seed(3)
        model = Transformer(29, embed_dim=12, num_heads=3, attention=attention)
        return model.state_dict(), torch.get_rng_state()

    ours, our_rng = weights(MultiHeadAttention)
    theirs, their_rng = weights(nn.MultiheadAttention)
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert torch.equal(our_rng, their_rng)


class Mixed(MultiHeadAttention):
    """An attention with parameters of its own, begun as the class wants them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.mix = nn.Parameter(torch.eye(self.num_heads))
        self.temperature = nn.Parameter(torch.full((self.num_heads, 1, 1), 0.7))
        self.gate = nn.Linear(self.embed_dim, self.embed_dim)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, 3.0)


def test_what_a_class_adds_keeps_its_own_values():
    torch.manual_seed(5)
    model = Transformer(29, embed_dim=12, num_heads=3, attention=Mixed)
    attentions = [module for module in model.modules() if isinstance(module, Mixed)]
    assert len(attentions) == 2 + 2 * 2
    for attention in attentions:
        assert torch.equal(attention.mix, torch.eye(3))
        assert torch.equal(attention.temperature, torch.full((3, 1, 1), 0.7))
        assert attention.gate.weight.abs().max() == 0
        assert (attention.gate.bias == 3).all()
        assert attention.in_proj_weight.abs().max() <= math.sqrt(6 / (12 + 36))
        assert attention.out_proj.bias.abs().max() == 0
