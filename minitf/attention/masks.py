"""Masks: from every form a caller may give to one additive tensor, and rows that see no key.

A bool mask says True where a key is to be *ignored* (torch.nn.MultiheadAttention's meaning; it is
the opposite of scaled_dot_product_attention's). It becomes an additive one: -inf where ignored,
else 0, added to the scores before the softmax, so that exp(-inf) = 0 gives the key no weight. Bool
masks are merged as such, which is less to compute, and become additive once.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.utils.weak import WeakTensorKeyDictionary

from minitf.attention.errors import AttentionError


class AttentionMask(NamedTuple):
    """What a kernel adds to the scores, and which rows it must not be asked about."""

    merged: Tensor | None
    """(B or 1, H or 1, T or 1, S); no row of it is masked throughout. To be added to the scores, in
    the queries' dtype."""
    is_causal: bool
    """Query i sees keys 0 to i. Never together with `merged`."""
    dead_rows: Tensor | None
    """(B or 1, H or 1, T or 1, 1): True where every key was masked; None where there is none."""


NO_MASK = AttentionMask(None, False, None)
_PROXY = torch._C._TorchDispatchModeKey.PROXY


def build_mask(
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    *,
    shape: tuple[int, int, int, int],
    query: Tensor,
    is_causal: bool,
    num_extra_keys: int = 0,
    offset: int = 0,
) -> AttentionMask:
    """Merge what a caller gave into one mask.

    Args:
        attn_mask: (T, S), (B·H, T, S), (B, T, S) or (B or 1, H or 1, T, S); bool (True: ignore) or
            float (added to the scores), of the query's dtype, and of any beside `is_causal`.
        key_padding_mask: (B, S); bool or float.
        shape: (B, H, T, S), extra keys not counted.
        query: gives dtype and device.
        is_causal: query i may see keys 0 to offset + i. Beside an `attn_mask` it is only a hint
            that this mask is causal, and never changes what it masks.
        num_extra_keys: keys behind the S, visible to every query (add_bias_kv, add_zero_attn).
        offset: position of query 0 among the keys (cached decoding).

    Raises:
        AttentionError: a mask's shape or dtype does not fit.
    """
    T, S = shape[2:]
    if attn_mask is None and key_padding_mask is None and not is_causal and S > 0:
        return NO_MASK
    mask = attn_mask
    if is_causal and mask is not None and mask.is_floating_point():
        mask = mask.to(query.dtype)  # torch's layers hint at a float32 one, whatever theirs is
    mask = None if mask is None else attn_mask_4d(mask, shape, query)
    padding = None if key_padding_mask is None else padding_mask_4d(key_padding_mask, shape, query)
    if S == 0 and num_extra_keys == 0:  # no query sees a key
        return AttentionMask(None, False, query.new_ones(1, 1, 1, 1, dtype=torch.bool))
    alone = padding is None and num_extra_keys == 0  # then attn_mask or is_causal is all there is
    if is_causal and mask is None and (T > 1 or offset == 0 or offset + 1 < S):
        if alone and offset == 0:
            return AttentionMask(None, True, None)
        mask = causal_mask(T, S, query.device, offset)[None, None]
    elif is_causal and attn_mask is not None and alone and _is_causal_mask(attn_mask, T, S):
        return AttentionMask(None, True, None)
    if mask is None and padding is None:
        return NO_MASK
    floats = [m.dtype for m in (mask, padding) if m is not None and m.dtype != torch.bool]
    if floats:  # under autocast another dtype than the query's
        mask = None if mask is None else additive(mask, floats[0])
        padding = None if padding is None else additive(padding, floats[0])
    if num_extra_keys:
        mask = None if mask is None else F.pad(mask, (0, num_extra_keys))
        padding = None if padding is None else F.pad(padding, (0, num_extra_keys))
    merged = _merge(mask, padding, shape)
    dead = None if num_extra_keys else _dead_rows(merged, query.dtype)
    merged = additive(merged, query.dtype)
    if dead is not None:
        # What they see does not matter: the module sets their results to zero, and with them their
        # gradients.
        merged = merged.masked_fill(dead, 0)
    return AttentionMask(merged, False, dead)


def causal_mask(T: int, S: int, device: torch.device, offset: int = 0) -> Bool[Tensor, "T S"]:
    """True above the diagonal: query i sees keys 0 to offset + i."""
    return torch.ones(T, S, dtype=torch.bool, device=device).triu(offset + 1)


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn a bool mask (True: ignore) into 0 and -inf; return a float mask as it is."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, float("-inf"))
    return mask


def _check_dtype(mask: Tensor, dtype: torch.dtype, name: str) -> None:
    """Refuse a mask that is neither bool nor floating-point, or of another float dtype."""
    if mask.dtype == torch.bool:
        return
    if not mask.is_floating_point():
        raise AttentionError(
            f"only bool and floating types of {name} are supported, got {mask.dtype}"
        )
    if mask.dtype != dtype and not torch.is_autocast_enabled(mask.device.type):
        raise AttentionError(
            f"a floating-point {name} must have the query's dtype {dtype}, got {mask.dtype}"
        )


def _merge(mask: Tensor | None, padding: Tensor | None, shape: tuple[int, int, int, int]) -> Tensor:
    """Merge two masks of one kind, of which one may be missing: or, or a sum."""
    if padding is not None and any(m is not None and m.requires_grad for m in (mask, padding)):
        # By torch's own steps, so that the mask's gradient is summed in torch's order.
        padding = padding.expand(-1, shape[1], -1, -1).reshape(-1, 1, padding.shape[-1])
        padding = padding.view(shape[0], shape[1], 1, padding.shape[-1])
    if mask is None or padding is None:
        given = padding if mask is None else mask
        assert given is not None
        return given
    return mask | padding if mask.dtype == torch.bool else mask + padding


def attn_mask_4d(mask: Tensor, shape: tuple[int, int, int, int], query: Tensor) -> Tensor:
    """View an attn_mask as (B or 1, H or 1, T, S).

    Raises:
        AttentionError: its shape is none of build_mask's for (B, H, T, S), or its dtype does not
            fit the query's.
    """
    B, H, T, S = shape
    _check_dtype(mask, query.dtype, "attn_mask")
    if mask.dim() == 2 and mask.shape == (T, S):
        return mask.unsqueeze(0).unsqueeze(0)
    if mask.dim() == 3 and mask.shape == (B * H, T, S):
        return mask.reshape(shape)
    if mask.dim() == 3 and mask.shape == (B, T, S):
        return mask[:, None]
    if mask.dim() == 4 and mask.shape[0] in (1, B) and mask.shape[1:] in ((1, T, S), (H, T, S)):
        return mask
    allowed = {
        2: f"({T}, {S})",
        3: f"({B * H}, {T}, {S}) or ({B}, {T}, {S})",
        4: f"({B} or 1, {H} or 1, {T}, {S})",
    }
    raise AttentionError(
        f"The shape of the {mask.dim()}D attn_mask is {tuple(mask.shape)}, but should be "
        f"{allowed.get(mask.dim(), allowed[2])}."
    )


def padding_mask_4d(mask: Tensor, shape: tuple[int, int, int, int], query: Tensor) -> Tensor:
    """View a key_padding_mask as (B, 1, 1, S).

    Raises:
        AttentionError: it is not (B, S), or its dtype does not fit the query's.
    """
    B, _, _, S = shape
    if mask.shape != (B, S):
        raise AttentionError(
            f"Expected key_padding_mask to be (batch, keys) = ({B}, {S}), but got "
            f"{tuple(mask.shape)}"
        )
    _check_dtype(mask, query.dtype, "key_padding_mask")
    return mask.unsqueeze(1).unsqueeze(1)


def _dead_rows(mask: Tensor, dtype: torch.dtype) -> Bool[Tensor, "b h t 1"] | None:
    """Find rows that are masked throughout, for their softmax would be NaN.

    Under autocast a mask is rounded to the scores' dtype, and float32's lowest number to -inf.

    Whether there are any is asked only where the answer costs no wait for a device and no break in
    a compiled or transformed graph.
    """
    if mask.dtype == torch.bool:
        dead = mask.all(dim=-1, keepdim=True)
    else:
        dead = mask.amax(dim=-1, keepdim=True).to(dtype) == float("-inf")
    return dead if not _is_at_hand(dead) or dead.any() else None


def is_transformed(x: Tensor) -> bool:
    """Whether tensors stand for many or for none: inside vmap or grad, traced, or x is fake.

    A function transform may have wrapped x or what else there is: weights, masks.
    """
    if torch._C._is_tracing() or torch._C._get_dispatch_mode(_PROXY) is not None:  # by make_fx
        return True
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return True
    return type(x) not in (Tensor, nn.Parameter)


def _is_at_hand(x: Tensor) -> bool:
    """Whether x's values can be asked for at no cost."""
    return x.is_cpu and not torch.compiler.is_compiling() and not is_transformed(x)


_verdicts = WeakTensorKeyDictionary()
"""Masks that were compared with the causal one: (version of the mask, verdict)."""


def _is_causal_mask(mask: Tensor, T: int, S: int) -> bool:
    """Whether a mask is exactly the causal one, so that a kernel may skip what it hides.

    On a GPU the comparison makes the host wait, hence each mask there is asked once in each version
    of it. Where the answer cannot be had (a graph is being compiled or captured, or a function
    transformed) it is no: the mask is then added as it stands, which is always right.
    """
    if torch.compiler.is_compiling() or mask.shape != (T, S) or mask.requires_grad:
        return False
    if is_transformed(mask) or mask.is_meta:
        return False
    if mask.device.type == "cpu":  # its memory may be written past its version, as by numpy
        return _equals_causal(mask, T, S)
    version = None if mask.is_inference() else mask._version
    if mask in _verdicts and _verdicts[mask][0] == version and version is not None:
        return bool(_verdicts[mask][1])
    if mask.is_cuda and torch.cuda.is_current_stream_capturing():
        return False
    verdict = _equals_causal(mask, T, S)
    _verdicts[mask] = (version, verdict)
    return verdict


def _equals_causal(mask: Tensor, T: int, S: int) -> bool:
    causal = causal_mask(T, S, mask.device)
    return torch.equal(mask, causal if mask.dtype == torch.bool else additive(causal, mask.dtype))


def dead_queries(dead_rows: Bool[Tensor, "b h t 1"], batch_first: bool) -> Bool[Tensor, "_ _ 1"]:
    """Queries that see no key in any head: (b, t, 1) if batch_first, else (t, b, 1)."""
    dead = dead_rows.all(dim=1)
    return dead if batch_first else dead.transpose(0, 1)
