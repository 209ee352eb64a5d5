"""Corners in which a user of torch's module may find himself, each beside torch's own."""

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrize

from minitf.attention import AttentionError, KeyValueCache, MultiHeadAttention
from minitf.attention.kernels import blockwise

E, H, B, T = 24, 6, 5, 7
D = E // H


def pair(**options):
    """torch's module and ours with its weights."""
    torch.manual_seed(1)
    theirs = nn.MultiheadAttention(E, H, batch_first=True, **options)
    ours = MultiHeadAttention(E, H, batch_first=True, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def same(a, b):
    """Bits and strides."""
    return torch.equal(a, b) and a.stride() == b.stride()


@pytest.mark.parametrize("shape", [(0, T, E), (B, 0, E), (0, 0, E)])
@pytest.mark.parametrize("need_weights", [True, False])
@torch.no_grad()
def test_an_empty_batch_in_evaluation(shape, need_weights):
    output, _ = pair()[1].eval()(*3 * [torch.randn(shape)], need_weights=need_weights)
    assert output.shape == shape


@pytest.mark.parametrize("kernel", ["auto", "math", "fused", "fast"])
def test_an_empty_batch_with_a_mask_that_wants_a_gradient(kernel):
    attention = MultiHeadAttention(E, H, batch_first=True, kernel=kernel)
    mask = torch.zeros(0, T, requires_grad=True)
    output, _ = attention(*3 * [torch.randn(0, T, E)], mask, need_weights=False)
    assert output.shape == (0, T, E)


@pytest.mark.parametrize("lengths", [(5, 0), (0, 5)])
@torch.no_grad()
def test_flex_without_a_query_or_a_key(lengths):
    attention = MultiHeadAttention(32, 2, batch_first=True, kernel="flex").eval()
    query, key = (torch.randn(2, length, 32) for length in lengths)
    output, _ = attention(query, key, key, need_weights=False)
    assert torch.equal(output, torch.zeros(2, lengths[0], 32))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_causal_hint_comes_with_a_mask_of_any_dtype(dtype):
    """`nn.Transformer` makes it in float32 whatever its own is."""
    theirs, ours = pair(dtype=dtype)
    x, mask = torch.randn(B, T, E, dtype=dtype), nn.Transformer.generate_square_subsequent_mask(T)
    options = {"attn_mask": mask, "is_causal": True, "need_weights": False}
    assert same(*(m(x, x, x, **options)[0] for m in (theirs, ours)))
    with pytest.raises(AttentionError, match="must have the query's dtype"):
        ours(x, x, x, attn_mask=mask)
    far = mask.tril(1)  # no causal one: it is added as it stands
    found, expected = (ours(x, x, x, **options | {"attn_mask": m})[0] for m in (far.to(dtype), far))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@torch.no_grad()
def test_averaged_weights_in_evaluation(dtype):
    theirs, ours = (m.eval() for m in pair(dtype=dtype))
    for seed in range(5):
        x = torch.randn(B, T, E, generator=torch.Generator().manual_seed(seed)).to(dtype)
        assert same(*(m(x, x, x)[1] for m in (theirs, ours)))


@torch.no_grad()
def test_evaluation_under_a_default_device():
    theirs, ours = (m.eval() for m in pair())
    x = torch.randn(B, T, E)
    with torch.device("cpu"):
        assert same(*(m(x, x, x)[0] for m in (theirs, ours)))


def test_evaluation_of_what_is_not_contiguous():
    theirs, ours = (m.eval() for m in pair())
    x = torch.randn(B, E, T).transpose(1, 2)
    with torch.no_grad():
        assert same(*(m(x, x, x)[0] for m in (theirs, ours)))


@pytest.mark.parametrize("masked", [True, False])
@torch.no_grad()
def test_traced_by_make_fx(masked):
    _, ours = (m.eval() for m in pair())
    x, padding = torch.randn(B, T, E), torch.arange(T) >= torch.tensor([[T], [3], [5], [1], [2]])

    def run(x, padding):
        return ours(x, x, x, key_padding_mask=padding if masked else None)[0]

    graph = make_fx(run)(x, padding)
    padding = padding | (torch.arange(B) == 3)[:, None]  # no row was masked throughout before
    found, expected = graph(x, padding), run(x, padding)
    torch.testing.assert_close(found, expected)


def test_dynamic_quantization_leaves_out_proj():
    _, ours = pair()
    assert type(ours.out_proj) is nn.modules.linear.NonDynamicallyQuantizableLinear


@torch.no_grad()
def test_torchs_layer_calls_what_it_cannot_compute_itself():
    """In evaluation it reads the weights of plain attention alone."""
    torch.manual_seed(2)
    layer = nn.TransformerEncoderLayer(E, H, 31, 0.0, batch_first=True).eval()
    x = torch.randn(B, T, E)
    layer.self_attn = MultiHeadAttention(E, H, batch_first=True, rotary_base=1e4).eval()
    found = layer(x)
    with torch.enable_grad():
        expected = layer(x)
    torch.testing.assert_close(found, expected)

    class Adapter(nn.Linear):
        def forward(self, x):
            return 3 * super().forward(x)

    layer.self_attn = pair()[1].eval()
    plain = layer(x)
    layer.self_attn.out_proj = Adapter(E, E)
    layer.self_attn.out_proj.load_state_dict(pair()[1].out_proj.state_dict())
    assert not torch.allclose(layer(x), plain)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_nested_inputs_run_hooks_once_and_can_be_added_to():
    _, ours = pair()
    nested = torch.nested.nested_tensor([torch.randn(n, E) for n in (3, 7, 2)], layout=torch.jagged)
    plain = ours(nested, nested, nested, need_weights=False)[0]
    ours.register_forward_hook(lambda module, args, found: (found[0] * 2, found[1]))
    doubled = ours(nested, nested, nested, need_weights=False)[0]
    torch.testing.assert_close(doubled.values(), 2 * plain.values())
    residual = nested + plain
    torch.testing.assert_close(residual.values(), nested.values() + plain.values())


@pytest.mark.parametrize("own", [True, False])
def test_a_computed_weight_is_computed_once_a_call(own):
    class Counted(nn.Module):
        calls = 0

        def forward(self, weight):
            self.calls += 1
            return weight * 1

    _, ours = pair()
    counted = Counted()
    parametrize.register_parametrization(ours, "in_proj_weight", counted)
    counted.calls = 0
    query, key = torch.randn(B, T, E), torch.randn(B, 3, E)
    ours(query, *(2 * [query] if own else 2 * [key]))
    assert counted.calls == 1


def test_what_a_kernel_refuses_leaves_the_cache_as_it_was():
    attention = MultiHeadAttention(E, H, batch_first=True, kernel="fused")
    x = torch.randn(B, 1, E)
    for cache in (KeyValueCache(), KeyValueCache(static=True)):
        with pytest.raises(AttentionError, match="computes no attention weights"):
            attention(x, x, x, cache=cache)
        assert (cache.length, cache.is_full) == (0, False)
    cache = KeyValueCache()
    attention(x, x, x, need_weights=False, cache=cache)
    with pytest.raises(AttentionError, match="computes no attention weights"):
        attention(x, x, x, cache=cache)
    assert cache.length == 1


def test_an_unbatched_step_takes_a_mask_for_each_head():
    attention = pair()[1]
    x = torch.randn(T, E)
    mask = torch.rand(H, T, T) < 0.3
    mask[:, :, 0] = False
    expected = attention(x, x, x, attn_mask=mask)[0]
    cache, static = KeyValueCache(), KeyValueCache(static=True)
    attention(x[:-1], x[:-1], x[:-1], cache=cache)
    attention(x, x, x, cache=static)
    last = x[-1:]
    with pytest.raises(AttentionError, match=r"shape to be \(6, 1, 7\) but got \(6, 1, 6\)"):
        attention(last, last, last, attn_mask=mask[:, -1:, 1:], cache=cache)
    for held, inputs in ((cache, (last, last, last)), (static, (last, None, None))):
        found = attention(*inputs, attn_mask=mask[:, -1:], cache=held)[0]
        torch.testing.assert_close(found, expected[-1:])


@pytest.mark.parametrize("kernel", ["math", "fused", "fast"])
def test_a_cache_where_queries_alone_want_gradients(kernel):
    attention = MultiHeadAttention(E, H, kdim=4, vdim=4, batch_first=True, kernel=kernel)
    attention.requires_grad_(False)
    attention.q_proj_weight.requires_grad_()
    query, key = torch.randn(B, T, E), torch.randn(B, T, 4)
    options = {"is_causal": True, "need_weights": False}
    cache, steps = KeyValueCache(), []
    for t in range(T):
        q, k = query[:, t : t + 1], key[:, t : t + 1]
        steps.append(attention(q, k, k, cache=cache, **options)[0])
    whole = attention(query, key, key, **options)[0]
    found, expected = (
        torch.autograd.grad(y.square().sum(), attention.q_proj_weight)
        for y in (torch.cat(steps, 1), whole)
    )
    torch.testing.assert_close(found, expected)


def test_a_cache_begun_in_inference_mode_goes_on_outside():
    attention, cache = pair()[1].eval(), KeyValueCache()
    x = torch.randn(B, 4, E)
    first, second, rest = x[:, :2], x[:, 2:3], x[:, 3:]
    with torch.inference_mode():
        attention(first, first, first, cache=cache)
        attention(second, second, second, cache=cache)  # there is room for one more now
    with torch.no_grad():
        found = attention(rest, rest, rest, cache=cache)[0]
        torch.testing.assert_close(found, attention(x, x, x)[0][:, 3:])


def test_blockwise_dropout_inside_a_function_transform(monkeypatch):
    monkeypatch.setattr(blockwise, "BLOCK_SCORES", 1)
    monkeypatch.setattr("minitf.attention.kernels.fast.BLOCK_SCORES", 1)
    attention = MultiHeadAttention(E, H, 0.5, batch_first=True, kernel="fast")
    x = torch.randn(B, T, E)
    gradient = torch.func.grad(lambda x: attention(x, x, x, need_weights=False)[0].sum())(x)
    assert gradient.isfinite().all()
    assert gradient.any()


def test_a_kernel_set_since_that_does_not_exist():
    _, ours = pair()
    ours.kernel = "fest"
    x = torch.randn(B, T, E)
    with pytest.raises(AttentionError, match=r"kernel must be one of auto, .*, got 'fest'"):
        ours(x, x, x)


@pytest.mark.parametrize("which", ["key", "value"])
@pytest.mark.parametrize("shape", [(1, T, E), (B, 1, E)])
def test_a_query_that_is_key_or_value_alone_has_torchs_gradient_strides(which, shape):
    strides = []
    for module in pair():
        x, other = torch.randn(shape, requires_grad=True), torch.randn(shape)
        inputs = (x, x, other) if which == "key" else (x, other, x)
        module(*inputs, need_weights=False)[0].sum().backward()
        strides.append(x.grad.stride())
    assert strides[0] == strides[1]


@pytest.mark.filterwarnings("ignore:Support for mismatched")
def test_a_mask_keeps_its_dtype_beside_a_bool_one_under_autocast():
    """Its gradient is rounded as torch's is, whatever autocast makes of the query."""
    padding = torch.arange(T) >= torch.tensor([[T], [3], [5], [1], [2]])
    found = []
    for module in pair(dtype=torch.bfloat16):
        torch.manual_seed(2)
        x = torch.randn(B, T, E).bfloat16()
        mask = torch.randn(T, T).bfloat16().requires_grad_()
        with torch.autocast("cpu", torch.float16):
            output, weights = module(x, x, x, padding, attn_mask=mask)
        (output.float().square().sum() + weights.float().square().sum()).backward()
        found.append(mask.grad)
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("kernel", "need_weights"),
    [("fused", False), *((k, w) for k in ("auto", "math", "fast") for w in (True, False))],
)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_row_of_what_autocast_rounds_to_minus_infinity_gives_zeros(kernel, need_weights, dtype):
    attention = MultiHeadAttention(E, H, batch_first=True, kernel=kernel)
    nn.init.ones_(attention.out_proj.bias)
    x, padding = torch.randn(B, T, E, requires_grad=True), torch.zeros(B, T)
    padding[1] = torch.finfo(torch.float32).min
    padding[2, 3:] = torch.finfo(torch.float32).min
    with torch.autocast("cpu", dtype):
        output = attention(x, x, x, padding, need_weights=need_weights)[0]
    output.float().square().sum().backward()
    assert output.any(-1).all(-1).tolist() == [True, False, True, True, True]
    assert x.grad.isfinite().all()
    assert not x.grad[1].any()


@pytest.mark.parametrize("over", ["weights", "masks"])
@torch.no_grad()
def test_evaluation_inside_vmap_over_what_is_no_input(over):
    """torch's inference kernel has no batching rule, and the query alone does not tell."""
    modules = [MultiHeadAttention(E, H, batch_first=True).eval() for _ in range(3)]
    x, padding = torch.randn(B, T, E), torch.rand(3, B, T) < 0.3
    if over == "weights":
        states, _ = torch.func.stack_module_state(modules)
        found = torch.func.vmap(
            lambda state: torch.func.functional_call(modules[0], state, (x, x, x))[0]
        )(states)
        expected = [module(x, x, x)[0] for module in modules]
    else:
        found = torch.func.vmap(lambda mask: modules[0](x, x, x, mask)[0])(padding)
        expected = [modules[0](x, x, x, mask)[0] for mask in padding]
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")  # torch's own
@torch.no_grad()
def test_forward_derivatives_in_evaluation():
    """torch's inference kernel has none."""
    attention, x = pair()[1].eval(), torch.randn(1, 2, E)
    direction = torch.randn_like(x)
    step = 1e-3 * direction
    expected = (attention(*3 * [x + step])[0] - attention(*3 * [x - step])[0]) / 2e-3
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, direction)
        found = forward_ad.unpack_dual(attention(dual, dual, dual)[0]).tangent
    torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("masks", [{}, {"is_causal": True}])
def test_dropout_in_blocks_stays_on_its_device(masks, monkeypatch):
    """Whatever device tensors are made on by default."""
    monkeypatch.setattr(blockwise, "BLOCK_SCORES", 1)
    monkeypatch.setattr("minitf.attention.kernels.fast.BLOCK_SCORES", 1)
    attention = MultiHeadAttention(E, H, 0.5, batch_first=True, kernel="fast")
    x = torch.randn(B, T, E, requires_grad=True)
    found = []
    for device in ("cpu", "meta"):
        torch.manual_seed(2)
        with torch.device(device):
            output = attention(x, x, x, need_weights=False, **masks)[0]
            found.append(torch.autograd.grad(output.square().sum(), x)[0])
    assert torch.equal(*found)


@torch.no_grad()
def test_torchs_layer_calls_an_output_projection_whose_forward_was_set():
    """As tools do that wrap the forward of a module in place."""
    layer = nn.TransformerEncoderLayer(E, H, 31, 0.0, batch_first=True).eval()
    layer.self_attn, x = pair()[1].eval(), torch.randn(B, T, E)
    plain, out_proj = layer(x), layer.self_attn.out_proj
    forward = out_proj.forward
    out_proj.forward = lambda x: 3 * forward(x) + 1
    assert not torch.allclose(layer(x), plain)


@pytest.mark.parametrize("shape", [(T, T), (B, T, T), (B * H, T, T), (B, 1, T, T), (B, H, T, T),
                                   (1, 1, T, T), (1, H, T, T)])  # fmt: skip
def test_torchs_layer_takes_every_mask_in_evaluation_too(shape):
    layer = nn.TransformerEncoderLayer(E, H, 31, 0.0, batch_first=True)
    layer.self_attn, x = pair()[1], torch.randn(B, T, E)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.3
    mask[..., 0] = False
    padding = torch.arange(T) >= torch.tensor([[T], [3], [5], [1], [2]])
    for more in ({}, {"src_key_padding_mask": padding}):
        expected = layer.train()(x, mask, **more)
        with torch.no_grad():
            torch.testing.assert_close(layer.eval()(x, mask, **more), expected)


@pytest.mark.parametrize("heads", [H, E])  # of one feature the context is a view
def test_an_output_projection_of_another_width(heads):
    attention = MultiHeadAttention(E, heads)
    attention.out_proj = nn.Linear(E, 5)
    x = torch.randn(T, 1, E)
    assert attention(x, x, x)[0].shape == (T, 1, 5)


def test_what_a_cache_refuses():
    attention, x, cache = pair()[1], torch.randn(B, T, E), KeyValueCache()
    attention(x, x, x, cache=cache)
    with pytest.raises(AttentionError, match="cut to 0 positions or more, got -1"):
        cache.truncate(-1)
    other = MultiHeadAttention(E, 2, batch_first=True)
    with pytest.raises(AttentionError, match="holds 6 heads of 4 features, got 2 of 12"):
        other(x, x, x, cache=cache)
    assert cache.length == T


@pytest.mark.parametrize(("need_weights", "average"), [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize("masked", [False, True])
def test_what_a_frozen_attention_gives_in_evaluation_is_trained_on(need_weights, average, masked):
    ours = pair()[1].eval().requires_grad_(False)
    x, after = torch.randn(B, T, E), nn.Linear(E, 1)
    padding = torch.arange(T) >= torch.tensor([T, 3, 0, T, 1])[:, None] if masked else None
    output, weights = ours(
        x, x, x, padding, need_weights=need_weights, average_attn_weights=average
    )
    found = after(output).sum()
    if weights is not None:
        found = found + (after.bias * weights).sum()
    found.backward()
    torch.testing.assert_close(after.weight.grad[0], output.sum((0, 1)))
    for made in (output, weights):
        if made is not None:
            assert not made.is_inference()
            made.mul_(2)


def doubled(module, *args):
    """A hook before or after a layer."""
    return tuple(2 * x for x in args[0]) if len(args) == 1 else 2 * args[1]


class Scaled(nn.Linear):
    """A layer with a parameter of its own, to be trained."""

    def __init__(self, plain):
        super().__init__(E, E)
        self.load_state_dict(plain.state_dict())
        self.requires_grad_(False)
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return super().forward(x * self.scale)


@pytest.mark.parametrize("way", ["hook", "hook before", "hook of all", "forward set", "class"])
def test_what_is_done_to_out_proj_has_effect_in_evaluation(way):
    ours = pair()[1].eval().requires_grad_(False)
    x = torch.randn(B, T, E)
    plain = ours(x, x, x, need_weights=False)[0]
    if way == "hook":
        ours.out_proj.register_forward_hook(doubled)
    elif way == "hook before":
        ours.out_proj.register_forward_pre_hook(doubled)  # its bias is zero
    elif way == "hook of all":
        hook = nn.modules.module.register_module_forward_hook(
            lambda module, args, output: 2 * output if module is ours.out_proj else None
        )
    elif way == "forward set":
        linear = ours.out_proj.forward
        ours.out_proj.forward = lambda x: 2 * linear(x)
    else:
        ours.out_proj = Scaled(ours.out_proj)
    try:
        found = ours(x, x, x, need_weights=False)[0]
    finally:
        if way == "hook of all":
            hook.remove()
    assert torch.equal(found, 2 * plain)
    if way == "class":
        found.sum().backward()
        torch.testing.assert_close(ours.out_proj.scale.grad, plain.sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@torch.no_grad()
def test_heads_of_one_feature_in_evaluation(dtype):
    theirs = nn.MultiheadAttention(64, 64, batch_first=True, dtype=dtype).eval()
    nn.init.normal_(theirs.out_proj.bias)
    ours = MultiHeadAttention(64, 64, batch_first=True, dtype=dtype).eval()
    ours.load_state_dict(theirs.state_dict())
    for length in (1, 3, 17, 130):
        x = torch.randn(B, length, 64, dtype=dtype)
        for got, want in zip(ours(x, x, x), theirs(x, x, x), strict=True):
            assert same(got, want)
