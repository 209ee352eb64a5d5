"""The module's interface, and what it does beyond torch's."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from minitf.attention import AttentionError, KeyValueCache, MultiHeadAttention
from minitf.attention.kernels import KERNELS, NAMES
from minitf.attention.kernels.inference import LONGEST

B, T, S, H, D = 3, 5, 7, 2, 11
E = H * D
EVERY_PATH = [("math", True), ("math", False), ("fused", False), ("fast", True), ("fast", False)]
EVERY_PATH += [("auto", True), ("auto", False)]


def make(kernel="auto", **kwargs):
    """A float64 module with biases that are not zero."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(
        E, H, batch_first=True, dtype=torch.float64, kernel=kernel, **kwargs
    )
    with torch.no_grad():
        for parameter in attention.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return attention


def tensors(requires_grad=False):
    generator = torch.Generator().manual_seed(1)
    query = torch.randn(B, T, E, generator=generator, dtype=torch.float64)
    key = torch.randn(B, S, E, generator=generator, dtype=torch.float64)
    return query.requires_grad_(requires_grad), key.requires_grad_(requires_grad)


def by_hand(attention, query, key, blocked):
    """Attention as the paper writes it, one head of one sentence at a time; True: blocked."""
    w_q, w_k, w_v = attention.in_proj_weight.chunk(3)
    b_q, b_k, b_v = attention.in_proj_bias.chunk(3)
    outputs = []
    for b in range(B):
        q, k, v = query[b] @ w_q.T + b_q, key[b] @ w_k.T + b_k, key[b] @ w_v.T + b_v
        heads = []
        for h in range(H):
            part = slice(h * D, (h + 1) * D)
            blind = blocked[b, h].all(-1, keepdim=True)
            scores = q[:, part] @ k[:, part].T / D**0.5
            weights = scores.masked_fill(blocked[b, h] & ~blind, -torch.inf).softmax(-1)
            heads.append(weights.masked_fill(blind, 0.0) @ v[:, part])
        output = torch.cat(heads, -1) @ attention.out_proj.weight.T + attention.out_proj.bias
        outputs.append(output.masked_fill(blocked[b].all(0).all(-1, keepdim=True), 0.0))
    return torch.stack(outputs)


@pytest.mark.parametrize(("kernel", "need_weights"), EVERY_PATH)
@pytest.mark.parametrize("shape", [(T, S), (B, T, S), (B * H, T, S), (B, 1, T, S), (B, H, T, S),
                                   (1, H, T, S), (1, 1, T, S)])  # fmt: skip
@pytest.mark.parametrize("as_float", [False, True])
def test_mask_shapes(kernel, need_weights, shape, as_float):
    attention, (query, key) = make(kernel), tensors()
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(2)) < 0.4
    mask[..., 0] = False
    padding = torch.arange(S) >= torch.tensor([[S], [4], [2]])
    blocked = (mask.view(B, H, T, S) if shape[0] == B * H else
               mask[:, None] if len(shape) == 3 else mask).expand(B, H, T, S)  # fmt: skip
    expected = by_hand(attention, query, key, blocked | padding[:, None, None])
    if as_float:
        mask = torch.zeros(shape, dtype=torch.float64).masked_fill(mask, -torch.inf)
    output, _ = attention(
        query, key, key, attn_mask=mask, key_padding_mask=padding, need_weights=need_weights
    )
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kernel", "need_weights"), EVERY_PATH)
@pytest.mark.parametrize("how", ["padding", "rows", "per_head", "float", "finfo_min_twice"])
def test_rows_that_see_no_key_give_zeros(kernel, need_weights, how):
    """Zero output, zero weights, zero gradients; all else is as if the row were not there."""
    attention, (query, key) = make(kernel), tensors(requires_grad=True)
    blocked = torch.zeros(B, H, T, S, dtype=torch.bool)
    if how == "padding":
        blocked[1] = True
        masks = {"key_padding_mask": blocked[:, 0, 0]}
    elif how == "rows":
        blocked[:, :, 2] = True
        masks = {"attn_mask": blocked[0, 0]}
    elif how == "per_head":  # one head of row 3 is blind, and both of row 4
        blocked[0, 0, 3] = blocked[0, :, 4] = True
        masks = {"attn_mask": blocked}
    elif how == "float":
        blocked[:, :, 2] = True
        zero = torch.zeros(T, S, dtype=torch.float64)
        masks = {"attn_mask": zero.masked_fill(blocked[0, 0], -torch.inf)}
    else:  # each alone is finite; their sum overflows to -inf
        blocked[1] = True
        low = torch.zeros(B, S, dtype=torch.float64)
        low[1] = torch.finfo(torch.float64).min
        masks = {"key_padding_mask": low, "attn_mask": torch.zeros(B, T, S, dtype=torch.float64)}
        masks["attn_mask"][1] = torch.finfo(torch.float64).min
    output, weights = attention(
        query, key, key, **masks, need_weights=need_weights, average_attn_weights=False
    )
    expected = by_hand(attention, query, key, blocked)
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    blind = blocked.all(1).all(-1)
    assert blind.any()
    assert (output[blind] == 0).all()
    if weights is not None:
        assert (weights[blocked.all(-1)] == 0).all()
    leaves = [query, key, *attention.parameters()]
    slope = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output)
    gradients = torch.autograd.grad((output * slope).sum(), leaves)
    assert (gradients[0][blind] == 0).all()
    for gradient, by_oracle in zip(
        gradients, torch.autograd.grad((expected * slope).sum(), leaves), strict=True
    ):
        torch.testing.assert_close(gradient, by_oracle, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("kernel", "need_weights"), EVERY_PATH)
def test_is_causal(kernel, need_weights):
    attention, (query, _) = make(kernel), tensors()
    padding = torch.arange(T) >= torch.tensor([[T], [4], [2]])
    causal = torch.ones(T, T, dtype=torch.bool).triu(1)

    def run(**masks):
        return attention(query, query, query, need_weights=need_weights, **masks)[0]

    expected = by_hand(attention, query, query, causal.expand(B, H, T, T))
    for masks in ({}, {"attn_mask": causal}):
        torch.testing.assert_close(run(is_causal=True, **masks), expected)
    padded = by_hand(attention, query, query, causal | padding[:, None, None].expand(B, H, T, T))
    torch.testing.assert_close(run(is_causal=True, key_padding_mask=padding), padded)
    other = torch.rand(T, T, generator=torch.Generator().manual_seed(3)) < 0.3
    other[:, 0] = False
    obeyed = run(attn_mask=other, is_causal=True)  # a wrong hint changes nothing
    torch.testing.assert_close(obeyed, run(attn_mask=other))
    assert not torch.allclose(obeyed, expected)


def test_is_causal_reads_a_mask_again_after_it_changed():
    attention, (query, _) = make("fused"), tensors()
    mask = torch.ones(T, T, dtype=torch.bool).triu(1)
    attention(query, query, query, attn_mask=mask, is_causal=True, need_weights=False)
    mask.fill_(False)
    output, _ = attention(query, query, query, attn_mask=mask, is_causal=True, need_weights=False)
    everything = torch.zeros(B, H, T, T, dtype=torch.bool)
    torch.testing.assert_close(output, by_hand(attention, query, query, everything))


def test_is_causal_with_extra_keys():
    attention, (query, _) = make("auto", add_bias_kv=True, add_zero_attn=True), tensors()
    mask = torch.ones(T, T, dtype=torch.bool).triu(1)
    outputs = [
        attention(query, query, query, need_weights=need_weights, **masks)[0]
        for need_weights in (True, False)
        for masks in ({"is_causal": True}, {"attn_mask": mask, "is_causal": True},
                      {"attn_mask": mask})
    ]  # fmt: skip
    for output in outputs[1:]:
        torch.testing.assert_close(output, outputs[0])


def test_dropout_keeps_its_statistics():
    """Weights after dropout are 0 or 1 / (1 - p) times the weights, and p of them are 0."""
    attention, (query, key) = make(dropout=0.3), tensors()
    kept, _ = attention(query, key, key)
    _, weights = attention.eval()(query, key, key, average_attn_weights=False)
    torch.manual_seed(0)
    attention.train()
    ratios = torch.cat(
        [(attention(query, key, key, average_attn_weights=False)[1] / weights) for _ in range(60)]
    )
    zero = ratios == 0
    assert torch.allclose(ratios[~zero], torch.tensor(1 / 0.7, dtype=ratios.dtype))
    assert abs(zero.double().mean() - 0.3) < 5 * (0.3 * 0.7 / zero.numel()) ** 0.5
    assert kept.shape == (B, T, E)


@pytest.mark.parametrize("need_weights", [True, False])
def test_hooks_pruning_and_adapters_on_out_proj_have_effect(need_weights):
    """torch's module reads out_proj's numbers and never calls it (pytorch issues 69353, 78109)."""
    query, key = tensors()

    def run(attention):
        return attention(query, key, key, need_weights=need_weights)[0]

    plain = run(make())
    hooked = make()
    hooked.out_proj.register_forward_hook(lambda module, args, output: 2 * output)
    torch.testing.assert_close(run(hooked), 2 * plain)

    class Adapter(nn.Module):
        def __init__(self, linear):
            super().__init__()
            self.linear, self.down = linear, nn.Linear(E, 2, bias=False, dtype=torch.float64)

        def forward(self, x):
            return self.linear(x) + self.down(x).sum(-1, keepdim=True)

    adapted = make()
    adapted.out_proj = Adapter(adapted.out_proj)
    assert not torch.allclose(run(adapted), plain)

    pruned = make()
    prune.l1_unstructured(pruned.out_proj, "weight", amount=E * E)
    torch.testing.assert_close(run(pruned), pruned.out_proj.bias.expand(B, T, E))
    prune.l1_unstructured(pruned, "in_proj_weight", amount=0.5)
    assert run(pruned).isfinite().all()

    class Zero(nn.Module):
        def forward(self, weight):
            return 0 * weight

    parametrized = make()
    parametrize.register_parametrization(parametrized.out_proj, "weight", Zero())
    torch.testing.assert_close(run(parametrized), parametrized.out_proj.bias.expand(B, T, E))


@torch.no_grad()
def test_an_adapter_works_in_evaluation_too():
    """There `auto` would follow torch's kernel, which needs the projection's numbers."""
    attention, x = make().eval(), tensors()[0]
    plain = attention(x, x, x, need_weights=False)[0]
    attention.out_proj = nn.Sequential(attention.out_proj, nn.Identity())
    torch.testing.assert_close(attention(x, x, x, need_weights=False)[0], plain)


def test_per_sample_gradients_under_a_mask():
    """vmap and grad know no value of a mask, and need none."""
    attention, (query, key) = make(), tensors()
    padding = torch.arange(S) >= torch.tensor([[S], [4], [3]])
    parameters = {name: p.detach() for name, p in attention.named_parameters()}

    def loss(parameters, query, key, padding):
        inputs = (query[None], key[None], key[None])
        output, _ = torch.func.functional_call(
            attention, parameters, inputs, {"key_padding_mask": padding[None]}
        )
        return output.square().sum()

    per_sample = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0, 0))
    found = per_sample(parameters, query, key, padding)
    for i in range(B):
        alone = torch.func.grad(loss)(parameters, query[i], key[i], padding[i])
        for name, gradient in alone.items():
            torch.testing.assert_close(found[name][i], gradient)


def test_a_causal_hint_is_not_believed_of_a_mask_that_was_changed_unseen():
    """Memory that numpy shares moves no version."""
    attention, (x, _) = make(), tensors()
    array = np.triu(np.ones((T, T), dtype=bool), 1)
    mask = torch.from_numpy(array)
    options = {"attn_mask": mask, "is_causal": True, "need_weights": False}
    attention(x, x, x, **options)
    array[:] = False
    expected = attention(x, x, x, need_weights=False)[0]
    torch.testing.assert_close(attention(x, x, x, **options)[0], expected)


@pytest.mark.parametrize(("kernel", "need_weights"), EVERY_PATH)
@pytest.mark.parametrize("mask", [None, torch.bool, torch.float64])
def test_without_a_key_the_output_is_zero(kernel, need_weights, mask):
    attention, (query, key) = make(kernel), tensors()
    none = key[:, :0]
    padding = None if mask is None else torch.zeros(B, 0, dtype=mask)
    output, _ = attention(query, none, none, key_padding_mask=padding, need_weights=need_weights)
    assert output.shape == query.shape
    assert not output.any()


def test_rotary_positions_and_a_static_cache_exclude_each_other():
    attention = MultiHeadAttention(8, 2, batch_first=True, rotary_base=1e4)
    x = torch.ones(1, 3, 8)
    with pytest.raises(AttentionError, match="leave rotary_base out in cross-attention"):
        attention(x, x, x, cache=KeyValueCache(static=True))


def test_nested_keys_and_values_of_different_lengths_are_refused():
    attention = make()

    def nested(*lengths):
        rows = [torch.ones(n, E, dtype=torch.float64) for n in lengths]
        return torch.nested.nested_tensor(rows, layout=torch.jagged)

    query, key = nested(2, 3), nested(2, 4)
    assert attention(query, key, nested(2, 4), need_weights=False)[0].is_nested
    with pytest.raises(AttentionError, match=r"the same lengths, got \[2, 4\] and \[4, 1\]"):
        attention(query, key, nested(4, 1), need_weights=False)
    with pytest.raises(AttentionError, match="the query must be nested too"):
        attention(torch.ones(2, 3, E, dtype=torch.float64), key, key)


def test_second_derivatives():
    attention, (query, key) = make("math"), tensors(requires_grad=True)
    padding = torch.arange(S) >= torch.tensor([[S], [4], [0]])  # the last sees nothing

    def run(query, key):
        return attention(query[:, :2], key, key, key_padding_mask=padding, need_weights=False)[0]

    assert torch.autograd.gradcheck(run, (query, key), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (query, key), fast_mode=True)


@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested(layout, need_weights):
    """Sentence by sentence the same as without nesting, gradients included."""
    attention = make()
    rows = [torch.randn(n, E, dtype=torch.float64, requires_grad=True) for n in (3, 5, 1)]
    keys = [torch.randn(n, E, dtype=torch.float64, requires_grad=True) for n in (2, 7, 4)]
    nested = torch.nested.as_nested_tensor(rows, layout=layout)
    nested_keys = torch.nested.as_nested_tensor(keys, layout=layout)
    output, weights = attention(nested, nested_keys, nested_keys, need_weights=need_weights)
    assert output.is_nested
    assert output.layout == layout
    expected = [
        attention(q, k, k, need_weights=need_weights) for q, k in zip(rows, keys, strict=True)
    ]
    for got, (want, _) in zip(output.unbind(), expected, strict=True):
        torch.testing.assert_close(got, want)
    if need_weights:
        for got, (want, of_row) in zip(weights, expected, strict=True):
            torch.testing.assert_close(got[: of_row.shape[0], : of_row.shape[1]], of_row)
            assert got.sum().item() == pytest.approx(len(want))
    sum(part.square().sum() for part in output.unbind()).backward()
    got = [x.grad.clone() for x in (*rows, *keys)]
    for x in (*rows, *keys):
        x.grad = None
    sum(want.square().sum() for want, _ in expected).backward()
    for gradient, x in zip(got, (*rows, *keys), strict=True):
        torch.testing.assert_close(gradient, x.grad)


def test_nested_refusals():
    attention = make()
    nested = torch.nested.nested_tensor(
        [torch.randn(n, E, dtype=torch.float64) for n in (3, 5)], layout=torch.jagged
    )
    with pytest.raises(AttentionError, match="key and value must be nested"):
        attention(nested, *[torch.randn(2, S, E)] * 2)
    with pytest.raises(AttentionError, match="no masks"):
        attention(nested, nested, nested, key_padding_mask=torch.zeros(2, 5, dtype=torch.bool))
    attention.batch_first = False
    with pytest.raises(AttentionError, match="batch_first"):
        attention(nested, nested, nested)


def test_weights_cross_over_both_ways():
    for options in ({}, {"kdim": 5, "vdim": 3}, {"add_bias_kv": True}, {"bias": False}):
        theirs, ours = nn.MultiheadAttention(E, H, **options), MultiHeadAttention(E, H, **options)
        assert list(theirs.state_dict()) == list(ours.state_dict())
        ours.load_state_dict(theirs.state_dict())
        theirs.load_state_dict(ours.state_dict())
        assert all(hasattr(ours, name) for name in vars(theirs))


def test_copies_and_pickles():
    attention, (query, key) = make("fast"), tensors()
    expected = attention(query, key, key)[0]
    for clone in (copy.deepcopy(attention), pickle.loads(pickle.dumps(attention))):
        assert torch.equal(clone(query, key, key)[0], expected)
        assert clone.kernel == "fast"
    assert "kernel='fast', rotary_base=None" in repr(attention)


CONSTRUCTOR_ERRORS = [
    ((0, 1), {}, "must be greater than 0, got embed_dim=0 and num_heads=1"),
    ((4, -1), {}, "must be greater than 0"),
    ((5, 2), {}, "embed_dim must be divisible by num_heads, got embed_dim=5 and num_heads=2"),
    ((4, 2), {"dropout": -0.1}, "between 0 and 1, got -0.1"),
    ((4, 2), {"kdim": 0}, "kdim must be greater than 0 or None, got 0"),
    ((4, 2), {"vdim": -3}, "vdim must be greater than 0 or None, got -3"),
    ((4, 2), {"dropout": 1.1}, "between 0 and 1, got 1.1"),
    ((4, 2), {"kernel": "flash"}, "one of auto, math, fused, fast, flex, got 'flash'"),
    ((6, 2), {"rotary_base": 1e4}, "head_dim=3"),
    ((4, 2), {"rotary_base": 0.0}, "positive base"),
]


@pytest.mark.parametrize(("sizes", "options", "message"), CONSTRUCTOR_ERRORS)
def test_constructor_errors(sizes, options, message):
    with pytest.raises(AttentionError, match=message) as error:
        MultiHeadAttention(*sizes, **options)
    assert "\n" not in str(error.value)


def zeros(*shape, dtype=torch.float64):
    return torch.zeros(shape, dtype=dtype)


CALL_ERRORS = [
    ({"query": zeros(E)}, "received 1-D query"),
    ({"key": zeros(S, E)}, "to be 3-D but found 2-D and 3-D"),
    ({"query": zeros(B, T, E + 1)}, f"embedding dimension of {E}, but got {E + 1}"),
    ({"value": zeros(B, S + 1, E)}, "do not match value's"),
    ({"value": zeros(B, S, E - 1)}, f"vdim={E} features, got {E} and {E - 1}"),
    ({"query": zeros(B, T, E, dtype=torch.int64)}, "dtype torch.float64, got torch.int64"),
    ({"value": zeros(B, S, E, dtype=torch.float32)}, "value must have the weights' dtype"),
    ({"query": zeros(B + 1, T, E)}, f"one batch size, got {B + 1} and {B}"),
    ({"key": None}, "filled static cache"),
    ({"attn_mask": zeros(S)}, "`None`, 2-D or 3-D but found 1-D tensor"),
    ({"attn_mask": zeros(T, T)}, rf"2D attn_mask is \({T}, {T}\), but should be \({T}, {S}\)"),
    ({"attn_mask": zeros(B + 1, T, S)}, rf"should be \({B * H}, {T}, {S}\) or \({B}, {T}, {S}\)"),
    ({"attn_mask": zeros(B, H + 1, T, S)}, "4D attn_mask"),
    ({"attn_mask": zeros(T, S, dtype=torch.int64)}, "only bool and floating types of attn_mask"),
    ({"attn_mask": zeros(T, S, dtype=torch.float32)}, "must have the query's dtype torch.float64"),
    ({"key_padding_mask": zeros(S)}, "to be `None` or 2-D but found 1-D"),
    ({"key_padding_mask": zeros(B, T)}, rf"= \({B}, {S}\), but got \({B}, {T}\)"),
    ({"key_padding_mask": zeros(B, S, dtype=torch.int8)}, "types of key_padding_mask"),
]


@pytest.mark.parametrize(("change", "message"), CALL_ERRORS)
@pytest.mark.parametrize("kernel", ["auto", "fast"])
def test_call_errors(change, message, kernel):
    query, key = tensors()
    with pytest.raises(AttentionError, match=message) as error:
        make(kernel)(**({"query": query, "key": key, "value": key} | change))
    assert "\n" not in str(error.value)


def test_errors_are_of_every_type_that_torch_raises():
    for kind in (ValueError, AssertionError, RuntimeError):
        with pytest.raises(kind):
            MultiHeadAttention(5, 2)


def test_auto_keeps_no_scores_of_long_sentences():
    """torch's inference kernel would, and where no weights are wanted nobody needs them."""
    torch.manual_seed(0)
    attention = MultiHeadAttention(6, 2, batch_first=True).eval()
    for length, kept in ((LONGEST, True), (LONGEST + 1, False)):
        x = torch.randn(1, length, 6)
        sizes = []

        class Sizes(TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None, sizes=sizes):
                found = func(*args, **(kwargs or {}))
                sizes.extend(y.numel() for y in tree_iter(found) if isinstance(y, torch.Tensor))
                return found

        with torch.no_grad(), Sizes():
            attention(x, x, x, need_weights=False)
        assert (max(sizes) >= length**2) is kept


def test_every_name_is_a_kernel():
    assert set(NAMES) - {"auto"} == KERNELS.keys()
