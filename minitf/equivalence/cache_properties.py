"""Properties of the key/value cache: for implementations with `supports_cache`."""

import torch
from torch import Tensor, nn

from minitf.attention import KeyValueCache
from minitf.attention.contract import takes_cache
from minitf.equivalence.oracle import causal_mask
from minitf.equivalence.properties import (
    BATCH,
    EMBED,
    TARGET,
    Check,
    NotApplicable,
    Subject,
    require_equal,
)

STEPS = 67
"""Positions fed: past several growths of a cache's memory, and past usual windows."""


def _cached_module(subject: Subject) -> nn.Module:
    module = subject.module()
    if not takes_cache(module):
        raise NotApplicable("offers no cache")
    return module


def _step(module: nn.Module, x: Tensor, cache: KeyValueCache) -> Tensor:
    output: Tensor = module(x, x, x, is_causal=True, need_weights=False, cache=cache)[0]
    return output


@torch.no_grad()
def cache_gives_the_same(subject: Subject) -> None:
    """Positions fed through a cache, singly or several at once, give what the whole gives."""
    module = _cached_module(subject)
    x = subject.tensor(BATCH, STEPS, EMBED)
    mask = causal_mask(STEPS, STEPS, subject.device)
    whole, _ = module(x, x, x, attn_mask=mask, is_causal=True, need_weights=False)
    for lengths in ([1] * STEPS, [3, 1, 2, 1, STEPS - 8, 1], [STEPS]):
        cache, parts = KeyValueCache(), torch.split(x, lengths, dim=1)
        outputs = [_step(module, part, cache) for part in parts]
        require_equal(torch.cat(outputs, dim=1), whole, f"positions fed {lengths}")


@torch.no_grad()
def cache_follows_its_rows(subject: Subject) -> None:
    """After reordering, each row continues what the row it was taken from began."""
    module = _cached_module(subject)
    x = subject.tensor(BATCH, STEPS, EMBED)
    order = torch.tensor([2, 0, 0, 1], device=subject.device)
    cache = KeyValueCache()
    _step(module, x[:, :4], cache)
    cache.reorder(order)
    rest = x[order, 4:]
    outputs = torch.cat([_step(module, rest[:, t : t + 1], cache) for t in range(STEPS - 4)], dim=1)
    mask = causal_mask(STEPS, STEPS, subject.device)
    rows = x[order]  # one object, by which an implementation may tell self-attention
    whole, _ = module(rows, rows, rows, attn_mask=mask, is_causal=True, need_weights=False)
    require_equal(outputs, whole[:, 4:], "rows after reordering")


@torch.no_grad()
def cache_of_the_source(subject: Subject) -> None:
    """Cross-attention's keys, projected once and reused, give what they gave at first."""
    module = _cached_module(subject)
    query, key, value = subject.inputs()
    options = {"key_padding_mask": subject.padding(), "need_weights": False}
    whole, _ = module(query, key, value, **options)
    cache = KeyValueCache(static=True)
    outputs = [
        module(query[:, t : t + 1], key, value, cache=cache, **options)[0] for t in range(TARGET)
    ]
    require_equal(torch.cat(outputs, dim=1), whole, "queries fed one by one")
    order = torch.tensor([2, 0], device=subject.device)
    cache.reorder(order)
    options["key_padding_mask"] = subject.padding()[order]
    output, _ = module(query[order], None, None, cache=cache, **options)
    require_equal(output, whole[order], "rows after reordering")


CACHE_CHECKS: tuple[Check, ...] = (
    cache_gives_the_same,
    cache_follows_its_rows,
    cache_of_the_source,
)
