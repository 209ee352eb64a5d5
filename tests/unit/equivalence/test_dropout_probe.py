import pytest
import torch

from minitf.attention import MultiHeadAttention
from minitf.equivalence.calls import make_call, randomize
from minitf.equivalence.cases import Case
from minitf.equivalence.dropout_probe import dropout_fault, dropped_weights

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "case",
    [
        Case(dropout=0.25),
        Case(inputs="cross", dropout=0.25, lengths=(16, 17), batch_first=False),
        Case(inputs="distinct", dropout=0.25, lengths=(15, 8), bias_kv=True),
        Case(inputs="kdim_vdim", dropout=0.25, lengths=(7, 11), attn_mask="causal"),
        Case(inputs="self", dropout=0.25, batch=0, key_padding="bool"),
    ],
    ids=lambda case: case.label,
)
def test_the_mask_read_from_outside_is_the_one_inside(case):
    """With weights per head returned, dropped ones are seen directly: the probe must agree."""
    wide = case.inputs == "kdim_vdim"
    module = MultiHeadAttention(
        case.embed_dim, case.heads[0], dropout=case.dropout, add_bias_kv=case.bias_kv,
        batch_first=case.batch_first, kdim=case.embed_dim + 2 if wide else None,
        vdim=case.embed_dim + 5 if wide else None, kernel="math",
    )  # fmt: skip
    randomize(module, seed=3)
    before = {k: x.clone() for k, x in module.state_dict().items()}
    call = make_call(case, torch.float32, CPU, seed=5)
    kept = dropped_weights(module, call, seed=11)
    torch.manual_seed(11)
    with torch.no_grad():
        weights = module(
            call.query, call.key, call.value, need_weights=True, average_attn_weights=False,
            **call.masks,
        )[1]  # fmt: skip
    weights = weights if case.batch else weights[None]
    module.eval()
    with torch.no_grad():
        full = module(
            call.query, call.key, call.value, need_weights=True, average_attn_weights=False,
            **call.masks,
        )[1]  # fmt: skip
    full = full if case.batch else full[None]
    torch.testing.assert_close(weights, full * kept.float())
    assert all(torch.equal(before[k], x) for k, x in module.state_dict().items())


def test_shares_far_from_the_probability_are_found():
    visible = torch.ones(2, 2, 9, 11, dtype=torch.bool)
    generator = torch.Generator().manual_seed(3)
    kept = (torch.rand(visible.shape, generator=generator) > 0.25).double() / 0.75
    assert dropout_fault(kept, visible, 0.25) == ""
    assert "0 of 396" in dropout_fault(torch.ones_like(kept), visible, 0.25)
    assert "dropped, dropout is 0.5" in dropout_fault(kept, visible, 0.5)


@pytest.mark.parametrize(("axis", "name"), [(0, "sentence"), (1, "head"), (2, "query"), (3, "key")])
def test_shared_draws_are_found(axis, name):
    shape = [5, 6, 17, 16]
    one = [1 if a == axis else n for a, n in enumerate(shape)]
    generator = torch.Generator().manual_seed(3)
    kept = (torch.rand(one, generator=generator) > 0.25).double() / 0.75
    fault = dropout_fault(kept.expand(shape), torch.ones(shape, dtype=torch.bool), 0.25)
    assert fault == f"dropped weights are not drawn anew for every {name}"


@pytest.mark.parametrize("seed", range(20))
def test_independent_draws_are_not_called_shared(seed):
    print("seed", seed)
    generator = torch.Generator().manual_seed(seed)
    for shape in ((5, 2, 17, 16), (3, 3, 7, 11), (2, 1, 1, 5)):
        kept = (torch.rand(shape, generator=generator) > 0.25).double() / 0.75
        assert dropout_fault(kept, torch.ones_like(kept, dtype=torch.bool), 0.25) == ""


class Temperature(MultiHeadAttention):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.temperature = torch.nn.Parameter(torch.tensor(0.7))

    def forward(self, query, key, value, **options):
        return super().forward(query * self.temperature, key, value, **options)


class UnitKeys(MultiHeadAttention):
    def forward(self, query, key, value, **options):
        return super().forward(query, key / key.norm(dim=-1, keepdim=True), value, **options)


@pytest.mark.parametrize("attention", [Temperature, UnitKeys])
def test_the_probe_looks_through_scalars_and_norms(attention):
    case = Case(inputs="cross", dropout=0.25, lengths=(17, 16), batch=5)
    module = attention(case.embed_dim, case.heads[0], dropout=case.dropout, batch_first=True)
    kept = dropped_weights(module, make_call(case, torch.float32, CPU, seed=5), seed=11)
    assert dropout_fault(kept, torch.ones_like(kept, dtype=torch.bool), case.dropout) == ""


def test_what_gives_no_number_is_not_counted_as_kept():
    kept = torch.full((2, 2, 9, 11), torch.nan)
    assert "cannot be seen" in dropout_fault(kept, torch.ones_like(kept, dtype=torch.bool), 0.25)
