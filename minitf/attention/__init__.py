"""Multi-head attention: an exact, complete and faster drop-in for torch.nn.MultiheadAttention.

Read in this order, it is also a lesson. The formulas are those of Vaswani et al. 2017, "Attention
is all you need", section 3.2; each stands beside the line that computes it.

**What attention is.** A sentence is a row of vectors, one per token. Attention lets each token
gather from the others what it needs. Every token sends out a *query* (what am I looking for?), and
shows a *key* (what can be found here?) and a *value* (what is handed over). A query is compared
with every key; the better the match, the more of that key's value flows in.

**1. Projection** (`functional.project_inputs`). Queries, keys and values are three linear views of
the inputs::

    Q = X W_qᵀ + b_q    K = Y W_kᵀ + b_k    V = Y W_vᵀ + b_v       linear(query, w_q, b_q)

`linear` is torch's `F.linear`, or the same by another library (`minitf.attention.linear`). In
self-attention X and Y are the same sentence, and one product with the stacked matrix gives all
three; in cross-attention X is the translation so far, Y the source sentence.

**2. Heads** (`functional.split_heads`). One comparison per token would have to blend everything
that matters, grammar and meaning and position, into one number. So E features are cut into H
slices of D = E / H, and each slice is a listener of its own: one may follow the verb to its
subject, another a pronoun to its noun, a third simply the previous word. In symbols, head h, one of
1 to H, sees q_h = Q[:, (h-1)D:hD], and k_h, v_h likewise. The cut is a view and costs nothing;
kernels that want the heads in another order in memory get a copy of all of them::

    (B, T, E) -> (B, T, H, D) -> (B, H, T, D)     x.view(rows, columns, H, D).transpose(1, 2)

The figure on top of README.md (.github/attention.png) shows every head of a trained model on a
sentence of the embedded corpus, "The lazy hamster was in front of our television." While the
decoder spells the end of "Fernseher" (n, se, her), head 2 of layer 1 listens to the first piece of
"television", head 4 to the second, head 1 to one near its end; in the mean over heads the three are
a blur. Every run draws this figure of its own model, into figures/.

**3. Attention per head** (`kernels.math`). Scores are dot products of queries and keys. A dot
product of D numbers of size one has size √D, so it is divided by that; without it the softmax
would saturate, and learn slowly. Softmax makes each row a set of weights that sum to one, and the
result is the weighted sum of values::

    q_h / √D                                      q * math.sqrt(1.0 / D)
    S = (q_h / √D) k_hᵀ                           torch.bmm(q, k.transpose(1, 2))
    P = softmax(S), row by row                    F.softmax(scores, dim=-1)
    C_h = P v_h                                   torch.bmm(weights, v)

**4. Concatenation** (`functional.merge_heads`) and a last projection, which mixes what the heads
found::

    Concat(C_1, …, C_H)                           merge_heads(context, layout.batch_first)
    MultiHead = Concat(…) W_oᵀ + b_o              project_output(self.out_proj, context, heads)

**5. Masking** (`masks`). Back in step 3, some keys must not be seen: padding, which only fills up a
batch, and in training a decoder's future, which it is to predict. A mask M adds -inf to their
scores (q is scaled before, as in step 3); as exp(-inf) = 0, they get no weight, and the rest still
sums to one::

    S = (q_h / √D) k_hᵀ + M         torch.baddbmm(_per_head(mask, B, H), q, k.transpose(1, 2))

A query whose every key is masked has nothing to sum: its output, and all its gradients, are zero.

**By hand.** Two tokens, one head, D = 1, and projections that change nothing. The first token is
0, so it matches both keys alike and takes the mean of the values 0 and log 3; the second has
scores 0 and (log 3)² against them, and the causal mask hides the second token from the first:

    >>> import math, torch
    >>> attention = MultiHeadAttention(embed_dim=1, num_heads=1, batch_first=True)
    >>> with torch.no_grad():
    ...     _ = attention.in_proj_weight.fill_(1.0)
    ...     _ = attention.out_proj.weight.fill_(1.0)
    >>> x = torch.tensor([[[0.0], [math.log(3.0)]]])  # (B, T, E) = (1, 2, 1)
    >>> output, weights = attention(x, x, x)
    >>> weights[0, 0].tolist()
    [0.5, 0.5]
    >>> bool(torch.isclose(output[0, 0, 0], torch.tensor(math.log(3.0) / 2)))
    True
    >>> e = math.exp(math.log(3.0) ** 2)  # against e⁰ = 1, for the first key
    >>> torch.allclose(weights[0, 1], torch.tensor([1 / (1 + e), e / (1 + e)]))
    True
    >>> _, weights = attention(x, x, x, is_causal=True)
    >>> weights[0, 0].tolist()
    [1.0, 0.0]

With two features, one per head, the two listeners disagree, each sure of its own match:

    >>> heads = MultiHeadAttention(embed_dim=2, num_heads=2, batch_first=True)
    >>> with torch.no_grad():
    ...     _ = heads.in_proj_weight.copy_(torch.eye(2).repeat(3, 1))
    >>> query = torch.tensor([[[200.0, 200.0]]])
    >>> key = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    >>> heads(query, key, key, average_attn_weights=False)[1][0, :, 0].tolist()
    [[1.0, 0.0], [0.0, 1.0]]

**Which lines run.** Those above, all of them, in the cross-attention `attention(x, y, y)` of a
module with `batch_first=True, kernel="fast"`, with a mask and without. Torch keeps sequences first
in memory, (T, B, E), and cuts a stacked product in a way of its own; where its every bit is wanted
`functional` does so too, in the lines beside those quoted. To read on: `functional`,
`kernels.math`, `masks`, then `module`; `linear`, `kernels.inference`, `kernels.blockwise`, `nested`
and `rotary` can wait.

**Kernels.** `kernel="math"` computes step 3 as above; `fused` hands it to torch's
`scaled_dot_product_attention`, which never stores P; `auto`, the default, takes `math` where the
weights are wanted, or few queries meet a cache on a CPU, and `fused` elsewhere, and on a CPU
follows torch's module into its inference kernel (`kernels.inference`). `fast` computes in the
order, and on a CPU by the library, that is quickest, and agrees within rounding; `flex` is torch's
FlexAttention. `auto` equals torch's module to the last bit, in outputs, weights, every gradient,
strides and random state, except for

- queries that see no key (above);
- learned or zero extra keys under a causal hint without weights: torch hides them from most
  queries, although the mask does not;
- a causal hint beside a mask that is not causal: torch without weights follows the hint, and gives
  a mask so hinted no gradient;
- gradients through heads of a single feature;
- nested inputs in evaluation, and decoding with a cache, which torch has not;
- torch's inference kernel where no weights are wanted of more than 1,024 tokens, for it would keep
  all scores; and that kernel elsewhere than on a CPU, in compiled graphs and inside function
  transforms (`torch.backends.mha.set_fastpath_enabled(False)` switches it off).

**Decoding.** A `KeyValueCache` keeps keys and values from step to step, so that the n-th token
costs one projection instead of n.

**A class of your own** is built as `Class(embed_dim, num_heads, dropout=…, batch_first=True, …)`
and returns (output, weights or None). The model calls it in three ways, with need_weights=False but
for attention maps::

    encoder     attention(x, x, x, key_padding_mask=…)
    decoder     attention(x, x, x, attn_mask=…, is_causal=True)     attn_mask (T, T), the causal one
    cross       attention(x, memory, memory, key_padding_mask=…)

Self-attention is where `query is key`. The queries of cross-attention have no order: a sentence's
beams stand one after the other in one row. Masks are boolean, True: ignore. A class with a forward
of its own that says `needs_causal_mask = False` gets attn_mask=None beside is_causal=True.

With `supports_cache = True`, as classes that derive from `MultiHeadAttention` have it, decoding
adds `cache=`, and in the decoder x is then the newest token alone, at position `cache.length`, and
attn_mask None behind the first. `k, v = cache.update(k, v)` appends its projections, (B, H, S, D),
H any number of heads, and returns all. In cross-attention the cache is static: once
`cache.is_full`, `cache.held(B)` has what the first call projected. With False, decoding hands over
the whole prefix each time.
"""

from minitf.attention.cache import KeyValueCache
from minitf.attention.errors import AttentionError
from minitf.attention.module import MultiHeadAttention

__all__ = ["AttentionError", "KeyValueCache", "MultiHeadAttention"]
