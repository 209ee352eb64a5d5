"""The module: torch.nn.MultiheadAttention's interface over this room's functions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from minitf.attention.cache import KeyValueCache
from minitf.attention.checks import check_dimensions, check_dtypes, check_shapes, check_sizes
from minitf.attention.errors import AttentionError
from minitf.attention.functional import (
    HeadLayout,
    append_learned_key,
    append_zero_key,
    merge_heads,
    project_inputs,
    project_output,
    project_query,
    project_separately,
)
from minitf.attention.kernels import (
    BIT_IDENTICAL,
    KERNELS,
    check_kernel,
    may_be_slices,
)
from minitf.attention.kernels.inference import attend_as_torch, follows_torch
from minitf.attention.kernels.math import is_for_products
from minitf.attention.layout import Layout
from minitf.attention.linear import linear
from minitf.attention.masks import build_mask, dead_queries, is_transformed
from minitf.attention.nested import nested_forward
from minitf.attention.rotary import rotate_both


class MultiHeadAttention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2.2), a drop-in for torch's module.

    MultiHead = Concat(head_1, …, head_H) W_oᵀ + b_o with head_h = softmax(q_h k_hᵀ / √D) v_h, where
    q_h, k_h, v_h are the h-th slices of query·W_qᵀ + b_q, key·W_kᵀ + b_k and value·W_vᵀ + b_v.

    Constructor, forward, state_dict, initialisation and the meaning of masks are those of
    torch.nn.MultiheadAttention; with `kernel="auto"` so is every bit of outputs, weights and
    gradients, with the exceptions that `minitf.attention` names. A query whose every key is masked
    gets a zero output and zero gradients, where torch gives NaN or the output projection's bias.
    `cache` is keyword-only, which torch.jit.script does not take; torch.export does.

    Args:
        embed_dim: E, the width of queries and of the output.
        num_heads: H; each head has D = E / H dimensions.
        dropout: probability of dropping an attention weight in training.
        bias: whether the projections add a bias.
        add_bias_kv: append one learned key and value.
        add_zero_attn: append one key and value of zeros.
        kdim: width of keys; E if None.
        vdim: width of values; E if None.
        batch_first: whether inputs and output are (B, T, E) rather than (T, B, E).
        device: of the parameters.
        dtype: of the parameters.
        kernel: `auto`, `math`, `fused`, `fast` or `flex` (`minitf.attention.kernels`).
        rotary_base: rotate queries and keys by their position (`minitf.attention.rotary`); None:
            do not.

    Raises:
        AttentionError: a size, probability or kernel is not possible.
    """

    supports_cache = True
    """forward takes `cache`."""
    needs_causal_mask = False
    """is_causal=True needs no attn_mask beside it; a class that derives from this one and defines
    forward anew is given the mask unless it says so too."""

    in_proj_weight: Tensor | None  # packed; else None and three of their own
    q_proj_weight: Tensor
    k_proj_weight: Tensor
    v_proj_weight: Tensor
    in_proj_bias: Tensor | None
    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        kernel: str = "auto",
        rotary_base: float | None = None,
    ) -> None:
        check_sizes(embed_dim, num_heads, dropout, kdim, vdim)
        check_kernel(kernel)
        head_dim = embed_dim // num_heads
        if rotary_base is not None and (head_dim % 2 or rotary_base <= 0):
            raise AttentionError(
                "rotary positions need an even head_dim and a positive base, got "
                f"head_dim={head_dim} and rotary_base={rotary_base}"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.dropout = dropout
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        self.kernel = kernel
        self.rotary_base = rotary_base

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

        E, packed = embed_dim, self.kdim == embed_dim and self.vdim == embed_dim
        self.register_parameter("in_proj_weight", parameter(3 * E, E) if packed else None)
        self.register_parameter("q_proj_weight", None if packed else parameter(E, E))
        self.register_parameter("k_proj_weight", None if packed else parameter(E, self.kdim))
        self.register_parameter("v_proj_weight", None if packed else parameter(E, self.vdim))
        self.register_parameter("in_proj_bias", parameter(3 * E) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(E, E, bias, device, dtype)
        self.register_parameter("bias_k", parameter(1, 1, E) if add_bias_kv else None)
        self.register_parameter("bias_v", parameter(1, 1, E) if add_bias_kv else None)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        """Draw the parameters as torch's module does, in its order (out_proj drew its own before).

        Projections are Xavier-uniform (Glorot and Bengio 2010); the packed one counts 3E outputs.
        """
        for weight in (
            self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        ):  # fmt: skip
            if weight is not None:
                nn.init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            nn.init.zeros_(self.in_proj_bias)
            nn.init.zeros_(self.out_proj.bias)
        for row in (self.bias_k, self.bias_v):
            if row is not None:
                nn.init.xavier_normal_(row)

    @property
    def _qkv_same_embed_dim(self) -> bool:
        """Whether torch.nn.TransformerEncoderLayer may compute this from the weights it reads."""
        forward = getattr(self.out_proj.forward, "__func__", None)
        plain = forward is nn.Linear.forward  # no adapter, neither a class nor set on the instance
        return self.in_proj_weight is not None and self.rotary_base is None and plain

    def forward(
        self,
        query: Tensor,
        key: Tensor | None,
        value: Tensor | None,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        cache: KeyValueCache | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from every query to the keys, and return the weighted sums of values.

        Args:
            query: (T, B, E), or (B, T, E) with batch_first, or (T, E) unbatched, or nested.
            key: (S, B, kdim), (B, S, kdim) or (S, kdim); None if the cache is static and filled.
            value: (S, B, vdim), (B, S, vdim) or (S, vdim); likewise.
            key_padding_mask: (B, S), or (S,) unbatched. True: ignore this key; a float is added to
                its scores.
            need_weights: whether to return the weights; `auto` then uses `math`.
            attn_mask: (T, S), (B·H, T, S), (B, T, S) or (B or 1, H or 1, T, S). True: ignore; a
                float is added to the scores.
            average_attn_weights: average the returned weights over the heads.
            is_causal: query i sees keys 0 to i (with a growing cache: all keys up to its own
                position). Beside an attn_mask it is a hint that this mask is causal; the mask is
                obeyed either way.
            cache: keys and values of earlier steps; S then counts them.

        Returns:
            The output, query's shape, and the weights after dropout, (B, T, S) if averaged, else
            (B, H, T, S), without B if unbatched; None unless need_weights.

        Raises:
            AttentionError: shapes or dtypes do not fit, or the kernel cannot do what is asked.
        """
        kernel, traced = self.kernel, False
        if kernel == "auto" and cache is None:
            followed = follows_torch(
                self, query, key, value, attn_mask, key_padding_mask, need_weights
            )
            if followed is not None:
                traced = torch.compiler.is_compiling() or is_transformed(query)
                if not traced:
                    return attend_as_torch(
                        self, query, *followed, attn_mask, key_padding_mask,
                        is_causal, need_weights, average_attn_weights,
                    )  # fmt: skip
        if query.is_nested:
            return nested_forward(
                self, query, key, value, key_padding_mask, attn_mask,
                need_weights=need_weights, average_attn_weights=average_attn_weights,
                is_causal=is_causal, cache=cache,
            )  # fmt: skip
        held = cache is not None and cache.is_full
        if held:
            key = value = query  # stand-ins: their projections are in the cache
        elif key is None or value is None:
            raise AttentionError("key and value may be None only with a filled static cache")
        kernel = self._check(query, key, value, key_padding_mask, attn_mask, need_weights, cache)
        layout = Layout.choose(query.dim(), self.batch_first, kernel in BIT_IDENTICAL)
        query, key, value = layout.enter(query, key, value)
        if layout.unbatched and key_padding_mask is not None:
            key_padding_mask = key_padding_mask[None]

        # The numbers are the lesson's, in minitf.attention.
        # 1. Project, and 2. split into heads.
        offset = 0 if cache is None or cache.static else cache.length
        # torch has neither a cache nor the kernels whose bits are their own.
        exact = kernel in BIT_IDENTICAL and (cache is None or self.kernel != "auto")
        heads = HeadLayout(
            self.num_heads,
            layout.batch_first,
            slices=may_be_slices(kernel, self.head_dim),
            linear=F.linear if exact else linear,
        )
        q, k, v = self._project(query, key, value, cache, layout.batch_dim, heads)

        # 5. Mask: what no head may look at.
        mask = build_mask(
            attn_mask,
            key_padding_mask,
            shape=(*q.shape[:3], offset + k.shape[2]),
            query=q,
            is_causal=is_causal,
            num_extra_keys=(self.bias_k is not None) + self.add_zero_attn,
            offset=offset,
        )
        if cache is not None and not held:
            k, v = cache.update(k, v)
        k, v = self._append_extra_keys(k, v)

        # 3. Attend, per head.
        try:
            context, weights = KERNELS[kernel](
                q,
                k,
                v,
                mask.merged,
                is_causal=mask.is_causal,
                dropout=self.dropout if self.training else 0.0,
                need_weights=need_weights,
            )
        except AttentionError:  # what was refused has left the cache as it was
            if cache is not None and not held:
                cache.truncate(offset)
            raise
        del q, k, v  # without gradients their memory is free for what follows

        # 4. Concatenate the heads, and project once more; what saw no key gives zeros.
        dead = mask.dead_rows
        if dead is not None:
            context = context.masked_fill(dead, 0.0)
            weights = None if weights is None else weights.masked_fill(dead, 0.0)
        context = merge_heads(context, layout.batch_first)
        output = project_output(self.out_proj, context, heads)
        if dead is not None:
            output = output.masked_fill(dead_queries(dead, layout.batch_first), 0.0)
        output = layout.leave(output)
        if traced:  # as torch's own inference kernel lays it out
            output = output.contiguous()
        if weights is None or not need_weights:
            return output, None
        if average_attn_weights:
            weights = weights.mean(dim=1)
        return output, weights.squeeze(0) if layout.unbatched else weights

    def _check(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None,
        attn_mask: Tensor | None,
        need_weights: bool,
        cache: KeyValueCache | None,
    ) -> str:
        """Refuse what cannot be, as far as it shows before the layout, and return the kernel."""
        if key.is_nested or value.is_nested:
            raise AttentionError("with nested keys or values the query must be nested too")
        if cache is not None and cache.static and self.rotary_base is not None:
            raise AttentionError(
                "a static cache holds another sequence's keys, to which the queries' positions do "
                "not relate: leave rotary_base out in cross-attention"
            )
        num_held = 0
        if cache is not None:  # of a filled one the queries stand in for the keys
            num_held = cache.length - cache.is_full * query.shape[0]
        check_dimensions(query, key, value, key_padding_mask, attn_mask, self.num_heads, num_held)
        if self.kernel != "auto":
            check_kernel(self.kernel)  # it may have been set since the module was made
            return self.kernel
        length = query.shape[1 if self.batch_first and query.dim() == 3 else 0]
        products = cache is not None and is_for_products(query, length)
        return "math" if need_weights or products else "fused"

    def _project(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cache: KeyValueCache | None,
        batch_dim: int,
        heads: HeadLayout,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Project the inputs and split the heads: q (B, H, T, D), k and v (B, H, S, D)."""
        held = cache is not None and cache.is_full
        widths = (self.embed_dim, self.kdim, self.vdim) if not held else 3 * (self.embed_dim,)
        check_shapes(query, key, value, widths, batch_dim)
        packed, bias = self.in_proj_weight, self.in_proj_bias  # read once: they may be computed
        first = self.q_proj_weight if packed is None else packed
        check_dtypes((query, key, value), first.dtype)
        if cache is not None and cache.is_full:
            q = project_query(query, first, bias, heads)
            return q, *cache.held(q.shape[0])
        if packed is not None:
            q, k, v = project_inputs(query, key, value, packed, bias, heads)
        else:
            weights = (first, self.k_proj_weight, self.v_proj_weight)
            q, k, v = project_separately(query, key, value, weights, bias, heads)
        if self.rotary_base is not None:
            start = 0 if cache is None else cache.length
            q, k = rotate_both(q, k, self.rotary_base, start)
        return q, k, v

    def _append_extra_keys(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append the learned key and value, and those of zeros, where there are such."""
        if self.bias_k is not None and self.bias_v is not None:
            k, v = append_learned_key(k, self.bias_k), append_learned_key(v, self.bias_v)
        if self.add_zero_attn:
            k, v = append_zero_key(k), append_zero_key(v)
        return k, v

    def merge_masks(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, query: Tensor
    ) -> tuple[Tensor | None, int | None]:
        """Merge masks in the form torch.nn.TransformerEncoderLayer hands to its inference kernel.

        Args:
            attn_mask: (T, T), (B·H, T, T), (B, T, T) or (B or 1, H or 1, T, T), additive.
            key_padding_mask: (B, T), additive.
            query: (B, T, E).

        Returns:
            The mask and its kind: 1, a (B, T) padding mask; 2, a (B, H, T, T) one; None without.
        """
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        B, T, _ = query.shape
        mask = attn_mask.view(B, -1, T, T) if attn_mask.dim() == 3 else attn_mask
        mask = mask.expand(B, self.num_heads, T, T)
        if key_padding_mask is not None:
            mask = mask + key_padding_mask.view(B, 1, 1, T)
        return mask, 2

    def extra_repr(self) -> str:
        """Show what the sub-modules do not."""
        names = ("embed_dim", "num_heads", "dropout", "add_zero_attn", "kdim", "vdim",
                 "batch_first", "kernel", "rotary_base")  # fmt: skip
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
