"""What a search may write next: all else gets the log-probability -inf.

Shapes: B sentences, K rows per sentence, V vocabulary, P prefix length, t tokens so far.
"""

import torch
from torch import Tensor

from minitf.decoding.limits import Limits

NEVER = float("-inf")


class Constraints:
    """Rules on the next token.

    A forced prefix goes before every other rule. Then: padding and BOS never; no n-gram twice; EOS
    not before the minimum length (unless nothing else is left), and EOS alone at the maximum.

    Args:
        limits: each sentence's lengths; the prefix is within them.
        prefixes: token ids that each sentence's target starts with.
        no_repeat_ngram: n of the n-grams that may stand only once in a target; 0: all may.
        pad_id: the padding token's id.
        bos_id: the begin-of-sentence token's id.
        eos_id: the end-of-sentence token's id.
        device: the log-probabilities' device.
    """

    def __init__(
        self,
        limits: Limits,
        prefixes: list[list[int]],
        no_repeat_ngram: int,
        *,
        pad_id: int,
        bos_id: int,
        eos_id: int,
        device: torch.device,
    ) -> None:
        self.limits = limits
        self.no_repeat_ngram = no_repeat_ngram
        self.eos_id = eos_id
        self.pad_id = pad_id
        self.device = device
        self.never = torch.tensor([pad_id, bos_id], device=device)
        self.min_length = torch.tensor(limits.min_length, device=device)
        self.max_length = torch.tensor(limits.max_length, device=device)
        self.prefix_length = torch.tensor([len(p) for p in prefixes], device=device)
        longest = max((len(p) for p in prefixes), default=0)
        self.prefixes = torch.tensor(
            [p + [pad_id] * (longest - len(p)) for p in prefixes], dtype=torch.long, device=device
        )

    def keep_sentences(self, kept: list[int], index: Tensor) -> None:
        """Go on with these sentences alone; `index` is `kept` on the device."""
        self.limits = self.limits.keep(kept)
        self.min_length = self.min_length.index_select(0, index)
        self.max_length = self.max_length.index_select(0, index)
        self.prefix_length = self.prefix_length.index_select(0, index)
        self.prefixes = self.prefixes.index_select(0, index)

    def apply(self, log_prob: Tensor, tokens: Tensor) -> Tensor:
        """Forbid, in place.

        Args:
            log_prob: (B, K, V).
            tokens: (B, K, t) targets so far, BOS first.

        Returns:
            `log_prob`.
        """
        step = tokens.size(-1) - 1
        forced_log_prob = self._prefix_log_prob(log_prob, step)
        log_prob.index_fill_(-1, self.never, NEVER)
        if 0 < self.no_repeat_ngram <= step:
            repeated = self._repeated(tokens)
            log_prob.scatter_(-1, repeated, NEVER)
        if step < max(self.limits.min_length):
            self._forbid_end(log_prob, step)
        if step in self.limits.max_length:
            at_end = (self.max_length == step)[:, None]
            end = log_prob[..., self.eos_id].clone()
            log_prob.masked_fill_(at_end[..., None], NEVER)
            log_prob[..., self.eos_id] = end
        if forced_log_prob is not None:
            forced = (step < self.prefix_length)[:, None, None]
            log_prob.masked_fill_(forced, NEVER)
            index = self.prefixes[:, None, step, None].expand_as(forced_log_prob)
            log_prob.scatter_(
                -1, index, torch.where(forced, forced_log_prob, log_prob.gather(-1, index))
            )
        return log_prob

    def cut_off(self, log_prob: Tensor, step: int) -> Tensor | None:
        """(B, K) True where only the maximum length ends the target; None where it ends none.

        Args:
            log_prob: (B, K, V) before `apply`.
            step: tokens so far.
        """
        if step not in self.limits.max_length:
            return None
        return (self.max_length == step)[:, None] & (log_prob.argmax(-1) != self.eos_id)

    def _prefix_log_prob(self, log_prob: Tensor, step: int) -> Tensor | None:
        if step >= self.prefixes.size(1):
            return None
        index = self.prefixes[:, None, step, None].expand(-1, log_prob.size(1), 1)
        return log_prob.gather(-1, index)

    def _forbid_end(self, log_prob: Tensor, step: int) -> None:
        end = log_prob[..., self.eos_id].clone()
        too_short = (step < self.min_length)[:, None]
        forbidden = end.masked_fill(too_short, NEVER)
        log_prob[..., self.eos_id] = NEVER
        nothing_left = log_prob.amax(-1) == NEVER
        log_prob[..., self.eos_id] = torch.where(nothing_left, end, forbidden)

    def _repeated(self, tokens: Tensor) -> Tensor:
        """(B, K, t - n + 1) tokens that would repeat an n-gram; padding (never allowed) elsewhere.

        BOS counts as the first token; it can be part of no repetition.
        """
        n = self.no_repeat_ngram
        following = tokens[..., n - 1 :]
        if n == 1:
            return following
        contexts = tokens.unfold(-1, n - 1, 1)[..., :-1, :]  # (B, K, t - n + 1, n - 1)
        suffix = tokens[..., None, -(n - 1) :]
        return following.where((contexts == suffix).all(-1), self.pad_id)
