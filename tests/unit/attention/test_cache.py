"""Cached decoding gives what one call over everything gives."""

import itertools

import pytest
import torch

from minitf.attention import AttentionError, KeyValueCache, MultiHeadAttention

B, T, S, H, D = 3, 11, 5, 2, 6
E = H * D
KERNELS = ("auto", "math", "fused", "fast")


def make(kernel="auto", **options):
    torch.manual_seed(0)
    options = {"batch_first": True, "dtype": torch.float64} | options
    return MultiHeadAttention(E, H, kernel=kernel, **options).eval()


def tokens(length, seed=1):
    return torch.randn(B, length, E, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("steps", [[1] * T, [4, 7], [3, 1, 1, 6], [T]])
@pytest.mark.parametrize("rotary_base", [None, 100.0])
@pytest.mark.parametrize("grad", [False, True])
def test_steps_equal_one_call(kernel, steps, rotary_base, grad):
    attention, x = make(kernel, rotary_base=rotary_base), tokens(T)
    with torch.set_grad_enabled(grad):
        expected, _ = attention(x, x, x, is_causal=True, need_weights=False)
        cache, outputs = KeyValueCache(), []
        for part in x.split(steps, dim=1):
            outputs.append(
                attention(part, part, part, is_causal=True, need_weights=False, cache=cache)[0]
            )
    assert cache.length == T
    torch.testing.assert_close(torch.cat(outputs, 1), expected)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("options", [{}, {"add_bias_kv": True, "add_zero_attn": True}])
def test_weights_and_padding_with_a_cache(batch_first, options):
    attention, x = make(batch_first=batch_first, **options), tokens(T)
    padding = torch.arange(T) >= torch.tensor([[T], [3], [8]])

    def run(part, padding, **more):
        part = part if batch_first else part.transpose(0, 1)
        output, weights = attention(part, part, part, padding, is_causal=True, **more)
        return output if batch_first else output.transpose(0, 1), weights

    expected, expected_weights = run(x, padding)
    cache = KeyValueCache()
    for end, start in ((4, 0), (5, 4), (T, 5)):
        output, weights = run(x[:, start:end], padding[:, :end], cache=cache)
        torch.testing.assert_close(output, expected[:, start:end])
        torch.testing.assert_close(weights[:, :, :end], expected_weights[:, start:end, :end])


def test_reordering_follows_the_beams():
    attention, x = make(), tokens(T)
    cache = KeyValueCache()
    with torch.no_grad():
        attention(x[:, :4], x[:, :4], x[:, :4], is_causal=True, cache=cache)
        index = torch.tensor([2, 2, 0, 1, 1])
        cache.reorder(index)
        history = x[:, :4][index]
        for t in range(4, T):
            step = torch.randn(len(index), 1, E, dtype=torch.float64)
            history = torch.cat([history, step], dim=1)
            output, _ = attention(step, step, step, is_causal=True, cache=cache)
            expected, _ = attention(history, history, history, is_causal=True)
            torch.testing.assert_close(output, expected[:, -1:])
            if t == 6:  # two sentences have ended
                keep = torch.tensor([0, 4, 3])
                cache.reorder(keep)
                history, index = history[keep], keep


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("widths", [{}, {"kdim": 5, "vdim": 3}])
@pytest.mark.parametrize("batch_first", [True, False])
def test_static_cache_projects_the_source_once(kernel, widths, batch_first):
    attention = make(kernel, batch_first=batch_first, **widths)
    x, key, value = tokens(T), tokens(S, 2), tokens(S, 3)
    if widths:
        key, value = key[..., :5].contiguous(), value[..., :3].contiguous()
    padding = torch.arange(S) >= torch.tensor([[S], [3], [1]])
    if not batch_first:
        x, key, value = (t.transpose(0, 1).contiguous() for t in (x, key, value))
    expected, _ = attention(x, key, value, padding, need_weights=False)
    cache = KeyValueCache(static=True)
    attention(x, key, value, padding, need_weights=False, cache=cache)
    assert cache.length == S
    again, _ = attention(x, None, None, padding, need_weights=False, cache=cache)
    torch.testing.assert_close(again, expected)
    nonsense, _ = attention(x, 7 * key, 7 * value, padding, need_weights=False, cache=cache)
    torch.testing.assert_close(nonsense, expected)  # what is held is used
    cache.reorder(torch.tensor([1]))
    one = x[1:2] if batch_first else x[:, 1:2]
    output, _ = attention(one, None, None, padding[1:2], need_weights=False, cache=cache)
    torch.testing.assert_close(output, expected[1:2] if batch_first else expected[:, 1:2])


def test_growing_copies_seldom():
    """Capacity doubles, so n steps copy the history about log2(n) times."""
    attention, cache, buffers = make(), KeyValueCache(), set()
    x = tokens(1)
    with torch.no_grad():
        for _ in range(64):
            attention(x, x, x, cache=cache)
            buffers.add(cache._key.data_ptr())
    assert cache.length == 64
    assert cache._key.shape[2] <= 128
    assert len(buffers) <= 8


def test_gradients_reach_cached_keys():
    attention, x = make("math"), tokens(3).requires_grad_()
    expected = attention(x, x, x, is_causal=True)[0].square().sum()
    cache = KeyValueCache()
    outputs = [attention(s, s, s, is_causal=True, cache=cache)[0] for s in x.split(1, dim=1)]
    actual = torch.cat(outputs, 1).square().sum()
    for a, b in itertools.zip_longest(
        torch.autograd.grad(actual, [x]), torch.autograd.grad(expected, [x])
    ):
        torch.testing.assert_close(a, b)


def test_refusals():
    attention, x = make(), tokens(T)
    cache = KeyValueCache()
    attention(x, x, x, cache=cache)
    with pytest.raises(AttentionError, match="holds a batch of 3, got 2"):
        attention(x[:2], x[:2], x[:2], cache=cache)
    static = KeyValueCache(static=True)
    with pytest.raises(AttentionError, match="filled static cache"):
        attention(x, None, None, cache=static)
    with pytest.raises(AttentionError, match="cache is empty"):
        static.held(3)
    attention(x, x, x, cache=static)
    with pytest.raises(AttentionError, match="holds a batch of 3, got 1"):
        attention(x[:1], None, None, cache=static)


def test_a_refused_call_leaves_the_cache_as_it_was():
    attention, x = make(), tokens(T)
    first, rest = x[:, :2], x[:, 2:]
    cache = KeyValueCache()
    attention(first, first, first, is_causal=True, cache=cache)
    wrong = torch.zeros(T - 2, T + 1, dtype=torch.bool)
    with pytest.raises(AttentionError, match="attn_mask is"):
        attention(rest, rest, rest, attn_mask=wrong, cache=cache)
    assert cache.length == 2
    actual = attention(rest, rest, rest, is_causal=True, cache=cache)[0]
    expected = attention(x, x, x, is_causal=True)[0][:, 2:]
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("queries", [1, 2])
def test_a_query_sees_no_key_beyond_its_own_position(queries):
    """More new keys than queries: those behind the queries' positions are the future."""
    torch.manual_seed(9)
    module = MultiHeadAttention(12, 3, batch_first=True).eval()
    x = torch.randn(2, 7, 12)
    cache = KeyValueCache()
    module(x[:, :2], x[:, :2], x[:, :2], is_causal=True, cache=cache)
    query, new = x[:, 2 : 2 + queries], x[:, 2:5]
    _, weights = module(query, new, new, is_causal=True, cache=cache)
    assert weights.shape == (2, queries, 5)
    for i in range(queries):
        assert (weights[:, i, : 3 + i] > 0).all()
        assert (weights[:, i, 3 + i :] == 0).all()


@pytest.mark.parametrize("static", [False, True])
def test_what_a_cache_was_given_is_not_written_over(static):
    key, value = torch.zeros(B, H, 7, D), torch.zeros(B, H, 7, D)
    with torch.no_grad():
        cache = KeyValueCache(static)
        cache.update(key, value)
        cache.truncate(3)
        keys, values = cache.update(torch.ones(B, H, 2, D), torch.ones(B, H, 2, D))
    assert cache.length == 5
    for held, given in ((keys, key), (values, value)):
        assert held.sum(2).eq(2).all()
        assert not given.any()
