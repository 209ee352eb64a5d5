"""Log-probabilities are the model's, whichever library multiplies and wherever they are written."""

import pytest
import torch

from minitf.decoding.projection import ROWS, Projection
from minitf.model import Transformer, packed


@pytest.mark.parametrize("rows", [1, 5, 67, ROWS + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_they_are_those_of_projection_and_softmax(make_model, rows, dtype):
    model = make_model(vocab_size=101).to(dtype)
    generator = torch.Generator().manual_seed(3)
    steps = torch.randn(rows, 2, model.embed_dim, generator=generator).to(dtype)
    hidden, before = steps[:, -1], steps.clone()  # rows that do not lie together
    wanted = torch.float32 if dtype == torch.bfloat16 else dtype
    with torch.no_grad():
        found = Projection(model, wanted).log_prob(hidden)
        expected = model.project(hidden).log_softmax(-1, dtype=wanted)
    assert found.dtype == wanted
    torch.testing.assert_close(found, expected)
    assert torch.equal(steps, before)


@pytest.mark.parametrize("intel", [False, True])
def test_so_they_are_on_either_makers_cpu_for_more_and_for_fewer_rows(
    make_model, monkeypatch, intel
):
    monkeypatch.setattr(packed, "is_by_mkls_maker", lambda: intel)
    model = make_model(vocab_size=101).float()
    projection = Projection(model, torch.float32)
    generator = torch.Generator().manual_seed(11)
    for rows in (7, packed.MOST_ROWS + 1, packed.MOST_ROWS + 30, 5, packed.MOST_ROWS + 2):
        hidden = torch.randn(rows, model.embed_dim, generator=generator)
        found = projection.log_prob(hidden)
        with torch.no_grad():
            torch.testing.assert_close(found, model.project(hidden).log_softmax(-1))


def test_a_users_projection_is_the_one_that_is_used(make_model):
    class Capped(Transformer):
        def project(self, hidden):
            return 5.0 * torch.tanh(super().project(hidden) / 5.0)

    hidden = torch.randn(7, 12, generator=torch.Generator().manual_seed(5))
    ones = torch.arange(101.0)
    capped = make_model(vocab_size=101).float()
    capped.__class__ = Capped
    hooked = make_model(vocab_size=101).float()
    hooked.output_projection.register_forward_hook(
        lambda module, args, output: output + args[0].sum()
    )
    replaced = make_model(vocab_size=101).float()
    plain = replaced.output_projection.forward
    replaced.output_projection.forward = lambda x: plain(x) + x.sum(-1, keepdim=True) * ones
    for model in (capped, hooked, replaced):
        with torch.no_grad():
            found = Projection(model, torch.float32).log_prob(hidden)
            torch.testing.assert_close(found, model.project(hidden).log_softmax(-1))


def test_autocast_lowers_it_as_it_does_the_model(make_model):
    model = make_model(vocab_size=101).float()
    hidden = torch.randn(7, model.embed_dim, generator=torch.Generator().manual_seed(5))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = Projection(model, torch.float32).log_prob(hidden)
        expected = model.project(hidden).log_softmax(-1, dtype=torch.float32)
    assert torch.equal(found, expected)
