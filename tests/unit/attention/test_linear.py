"""Linear layers by oneDNN are torch's within rounding, gradients and all, and only where they may.

Sizes are different primes.
"""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from minitf.attention import KeyValueCache, MultiHeadAttention
from minitf.attention import linear as module
from minitf.attention.linear import linear

needs_onednn = pytest.mark.skipif(not torch._C._has_mkldnn, reason="this torch has no oneDNN")


@pytest.fixture
def onednn(monkeypatch):
    """Any CPU is one where oneDNN is the quicker, with any size."""
    monkeypatch.setattr(module, "mkl_leaves_avx512", lambda: True)
    monkeypatch.setattr(module, "FEWEST_PRODUCTS", 0)


def problem(rows, seed=1, wide=29, narrow=23):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((*rows, wide), (narrow, wide), (narrow,))
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]


def grows(tensors):
    return [x for x in tensors if x is not None and x.requires_grad]


def errors(found, exact):
    return [float((a.double() - b).detach().abs().max()) for a, b in zip(found, exact, strict=True)]


@needs_onednn
@pytest.mark.parametrize("rows", [(37,), (1,), (11, 7), (3, 5, 2)])
@pytest.mark.parametrize("sizes", [(29, 23), (23, 31)])
@pytest.mark.parametrize("frozen", [None, "x", "weight", "bias", "no bias", "all but bias"])
def test_output_and_gradients_are_torchs_within_rounding(onednn, rows, sizes, frozen):
    x, weight, bias = problem(rows, wide=sizes[0], narrow=sizes[1])
    for name, tensor in (("x", x), ("weight", weight), ("bias", bias)):
        tensor.requires_grad_(frozen != name and (frozen != "all but bias" or name == "bias"))
    tensors = [x, weight, None if frozen == "no bias" else bias]
    output = linear(*tensors)
    assert output.grad_fn.name() == "_LinearBackward"
    factor = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))

    def everything(function, *tensors):
        result = function(*tensors)
        return result, *torch.autograd.grad(result, grows(tensors), factor.to(result.dtype))

    exact_tensors = [
        None if t is None else t.detach().double().requires_grad_(t.requires_grad) for t in tensors
    ]
    exact = everything(F.linear, *exact_tensors)
    found, torchs = everything(linear, *tensors), everything(F.linear, *tensors)
    for error, torchs_error in zip(errors(found, exact), errors(torchs, exact), strict=True):
        assert error <= max(2 * torchs_error, 2e-6)


@needs_onednn
def test_second_derivatives_are_torchs(onednn):
    def second(function, x, weight, bias):
        (first,) = torch.autograd.grad(function(x, weight, bias).pow(3).sum(), x, create_graph=True)
        return torch.autograd.grad(first.pow(2).sum(), [x, weight, bias])

    tensors = problem((7,))
    exact = second(F.linear, *(t.detach().double().requires_grad_() for t in tensors))
    for found, wanted in zip(second(linear, *tensors), exact, strict=True):
        torch.testing.assert_close(
            found.double(), wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max()
        )


@needs_onednn
@pytest.mark.parametrize("view", ["transposed", "every second row", "expanded", "overlapping"])
def test_inputs_and_gradients_may_lie_in_any_way(onednn, view):
    x, weight, bias = problem((11, 14))

    def seen(t):
        if view == "transposed":
            return t.transpose(0, 1)
        if view == "every second row":
            return t[:, ::2]
        return (
            t[:1].expand(11, -1, -1) if view == "expanded" else t.flatten().unfold(0, t.size(2), 1)
        )

    output = linear(seen(x), weight, bias)
    factor = torch.randn(11, 20, 23, generator=torch.Generator().manual_seed(2))
    if view == "overlapping":  # as many rows as x has
        factor = factor.flatten().unfold(0, 23, 1)[: output.size(0)]
    else:
        factor = seen(factor[:, :14])
    found = torch.autograd.grad(output, [x, weight, bias], factor)
    expected = torch.autograd.grad(F.linear(seen(x), weight, bias), [x, weight, bias], factor)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)
    assert found[1].is_contiguous()


@needs_onednn
@pytest.mark.parametrize("lies", ["strided", "expanded"])
def test_parameters_may_lie_in_any_way(onednn, lies):
    x, weight, bias = (t.detach() for t in problem((13,)))
    wide = torch.stack([bias, -bias], dim=1).flatten()
    bias = wide[::2] if lies == "strided" else wide[:1].expand(bias.size(0))
    weight = weight[:, :1].expand(-1, weight.size(1)) if lies == "expanded" else weight
    for w in (
        weight,
        torch.cat([weight, weight], dim=1)[:, ::2],
        weight.flatten().unfold(0, 29, 7),
    ):
        b = bias if w.size(0) == bias.size(0) else None
        torch.testing.assert_close(linear(x, w, b), F.linear(x, w, b), rtol=1e-5, atol=1e-5)


@needs_onednn
def test_only_what_the_gradients_need_is_kept(onednn):
    x, weight, bias = problem((13,))
    held = []

    def shapes(*tensors):
        held.clear()
        with torch.autograd.graph.saved_tensors_hooks(
            lambda t: held.append(t.shape) or t, lambda t: t
        ):
            return linear(*tensors)

    shapes(x, weight.detach(), bias)
    assert held == [weight.shape]
    shapes(x.detach(), weight, bias)
    assert held == [x.shape]
    hidden = x * 1.0
    y = shapes(hidden, weight.detach())
    hidden.add_(1.0)  # torch's function allows it, too
    (found,) = torch.autograd.grad(y.sum(), [x])
    torch.testing.assert_close(found, weight.sum(0).expand_as(x))


@needs_onednn
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")
def test_many_gradients_at_once_are_torchs(onednn):
    x, weight, bias = problem((5, 7))
    factors = torch.randn(3, 5, 7, 23, generator=torch.Generator().manual_seed(2))
    for function in (linear, F.linear):
        grads = torch.autograd.grad(
            function(x, weight, bias), [x, weight, bias], factors, is_grads_batched=True
        )
        if function is linear:
            found = grads
    torch.testing.assert_close(found, grads, rtol=1e-4, atol=1e-4)
    y = linear(x, weight, bias)
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    assert counter.get_total_flops() == 2 * 2 * x.numel() * weight.size(0)


@needs_onednn
def test_parameters_get_gradients_that_lie_as_they_do(onednn):
    x, weight, bias = problem((13,))
    linear(x, weight, bias).sum().backward()
    assert weight.grad.stride() == weight.stride()
    assert x.grad.stride() == x.stride()


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")  # by vmap's import
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:TF32 acceleration")  # by mkldnn.flags
def test_it_is_torchs_function_where_that_is_the_better_or_knows_more(onednn):
    x, weight, bias = problem((13,))

    def name(*tensors):
        return linear(*tensors).grad_fn.name()

    assert name(x.double(), weight.double(), bias.double()) == "AddmmBackward0"
    with torch.backends.mkldnn.flags(enabled=False):
        assert name(x, weight, bias) == "AddmmBackward0"
    assert linear(x[0], weight, bias).grad_fn.name() != "_LinearBackward"
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(x, weight, bias).dtype == torch.bfloat16
    with FlopCounterMode(display=False) as counter:
        assert name(x, weight, bias) == "AddmmBackward0"
    assert counter.get_total_flops() == 2 * x.numel() * weight.size(0)
    batched = torch.vmap(linear, in_dims=(0, None, None))(x, weight, bias)
    torch.testing.assert_close(batched, F.linear(x, weight, bias))
    _, tangent = torch.func.jvp(lambda x: linear(x, weight, bias), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, F.linear(torch.ones_like(x), weight))
    for wrong in (
        (x[:, :-1], weight, bias),
        (x, weight.double(), bias),
        (x, weight.view(-1), bias),
        (x, weight, bias[:1]),
    ):
        assert not module._takes_onednn(*wrong)  # torch's broadcasts, or says what is wrong
    assert module._takes_onednn(x, weight, bias) == torch._C._has_mkldnn
    sparse = weight.detach().to_sparse()
    torch.testing.assert_close(linear(x, sparse), F.linear(x, weight))
    ragged = torch.nested.nested_tensor([x[:5].detach(), x[5:].detach()])
    assert not module._takes_onednn(ragged, weight, bias)


@needs_onednn
@pytest.mark.parametrize(
    "change", ["hook", "backward hook", "global hook", "forward", "call", "class"]
)
def test_a_layer_that_is_more_than_its_product_is_called(onednn, change):
    called = []
    layer = torch.nn.Linear(29, 23)
    x, _, _ = problem((13,))
    assert module.apply_linear(layer, x).grad_fn.name() == "_LinearBackward"
    handle = None
    if change == "hook":
        handle = layer.register_forward_hook(lambda *_: called.append(1))
    elif change == "backward hook":
        handle = layer.register_full_backward_hook(lambda *_: called.append(1))
    elif change == "global hook":
        handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: called.append(1))
    elif change == "forward":
        layer.forward = lambda x: called.append(1) or F.linear(x, layer.weight)
    elif change == "call":

        class Called(torch.nn.Linear):
            def __call__(self, x):
                called.append(1)
                return super().__call__(x)

        layer.__class__ = Called
    else:
        layer = torch.nn.Sequential(layer)
        layer.register_forward_hook(lambda *_: called.append(1))
    try:
        module.apply_linear(layer, x).sum().backward()
    finally:
        if handle is not None:
            handle.remove()
    assert called


@needs_onednn
def test_few_numbers_and_mkls_own_cpus_are_left_to_torch(monkeypatch):
    x, weight, bias = problem((13,))
    monkeypatch.setattr(module, "mkl_leaves_avx512", lambda: True)
    for fewest, library in (
        (13 * 29 * 23, "_LinearBackward"),
        (13 * 29 * 23 + 1, "AddmmBackward0"),
    ):
        monkeypatch.setattr(module, "FEWEST_PRODUCTS", fewest)
        assert linear(x, weight, bias).grad_fn.name() == library
    monkeypatch.setattr(module, "FEWEST_PRODUCTS", 0)
    monkeypatch.setattr(module, "mkl_leaves_avx512", lambda: False)
    assert linear(x, weight, bias).grad_fn.name() == "AddmmBackward0"


@pytest.mark.parametrize(
    ("name", "widest", "leaves"),
    [
        ("AMD EPYC", "AVX512", True),
        ("AMD EPYC", "AVX2", False),
        ("Intel Xeon", "AVX512", False),
        ("", "AVX512", True),
    ],
)
def test_which_cpus_mkl_leaves_avx512_of(monkeypatch, name, widest, leaves):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"cpu_name": name})
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: widest)
    monkeypatch.setattr(module, "is_by_mkls_maker", module.is_by_mkls_maker.__wrapped__)
    has_mkl = torch.backends.mkl.is_available()
    assert module.mkl_leaves_avx512.__wrapped__() == (has_mkl and leaves)
    assert module.is_by_mkls_maker() == (has_mkl and name == "Intel Xeon")


@pytest.fixture
def calls(monkeypatch, onednn):
    """Shapes of the products that oneDNN computes."""
    seen = []
    multiply = module.multiply

    def watched(x, weight, bias=None):
        seen.append((*x.shape[-1:], *weight.shape[:1]))
        return multiply(x, weight, bias)

    monkeypatch.setattr(module, "multiply", watched)
    return seen


@needs_onednn
@pytest.mark.parametrize("kernel", ["auto", "math", "fused", "fast"])
def test_only_what_need_not_have_torchs_bits_takes_it(calls, kernel):
    E = 22
    attention = MultiHeadAttention(E, 2, batch_first=True, kernel=kernel)
    x = torch.randn(3, 5, E, generator=torch.Generator().manual_seed(4))
    attention(x, x, x, need_weights=False)
    assert calls == ([(E, 3 * E), (E, E)] if kernel == "fast" else [])
    calls.clear()
    apart = MultiHeadAttention(E, 2, kdim=6, vdim=10, batch_first=True, kernel=kernel)
    apart(x, x[..., :6], x[..., :10], need_weights=False)
    assert calls == ([(E, E), (6, E), (10, E), (E, E)] if kernel == "fast" else [])
    calls.clear()
    with torch.no_grad():  # decoding, which torch has not
        growing, static, memory = KeyValueCache(), KeyValueCache(static=True), x[:, :2]
        attention(x, x, x, need_weights=False, is_causal=True, cache=growing)
        attention(x, memory, memory, need_weights=False, cache=static)
        attention(x, None, None, need_weights=False, cache=static)
    self_attention, cross = [(E, 3 * E), (E, E)], [(E, E), (E, E)]
    expected = [*self_attention, (E, 2 * E), *cross, *cross]
    assert calls == (expected if kernel in ("auto", "fast") else [])


@needs_onednn
def test_an_output_projection_of_ones_own_is_called(calls):
    attention = MultiHeadAttention(22, 2, batch_first=True, kernel="fast")
    x = torch.randn(3, 5, 22, generator=torch.Generator().manual_seed(4))
    expected, _ = attention(x, x, x, need_weights=False)
    handle = attention.out_proj.register_forward_hook(lambda module, args, output: 2 * output)
    hooked, _ = attention(x, x, x, need_weights=False)
    torch.testing.assert_close(hooked, 2 * expected)
    handle.remove()
    attention.out_proj.forward = lambda context: torch.zeros_like(context)
    assert not attention(x, x, x, need_weights=False)[0].any()
    attention.out_proj = torch.nn.Identity()
    assert attention(x, x, x, need_weights=False)[0].shape == x.shape
