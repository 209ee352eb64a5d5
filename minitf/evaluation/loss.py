"""The model's loss on parallel text: per target token, padding left out."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from minitf.batching.sampler import cut_by_tokens
from minitf.config.errors import UserError
from minitf.decoding.batches import pad
from minitf.model import Transformer
from minitf.tokenizer import TextTokenizer


@dataclass(frozen=True)
class CorpusLoss:
    """Negative log-likelihood of the references under the model."""

    total: float
    """In nats, over all target tokens."""
    num_tokens: int
    """Target tokens, EOS counted, padding not."""

    @property
    def loss(self) -> float:
        """Nats per target token, without label smoothing."""
        return self.total / self.num_tokens

    @property
    def perplexity(self) -> float:
        """exp(loss): comparable between models that share a tokenizer only."""
        return math.exp(self.loss) if self.loss < 700 else math.inf


def sum_losses(losses: Sequence[CorpusLoss]) -> CorpusLoss:
    """One loss over all target tokens of several."""
    return CorpusLoss(math.fsum(x.total for x in losses), sum(x.num_tokens for x in losses))


@torch.inference_mode()
def sentence_losses(
    model: Transformer,
    tokenizer: TextTokenizer,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    device: torch.device | str | None = None,
    batch_tokens: int = 8_192,
) -> list[CorpusLoss]:
    """The loss of predicting each target token from its source and the target before it.

    Args:
        model: The trained model.
        tokenizer: The tokenizer it was trained with.
        sources: Source sentences.
        targets: Their references.
        device: Where to run; None: where the model is.
        batch_tokens: Source plus target positions in a batch, padding counted.

    Returns:
        A loss for each pair, in order.

    Raises:
        UserError: The lists differ in length.
    """
    if len(sources) != len(targets):
        raise UserError(
            f"a loss needs as many sources as targets: received {len(sources)} and {len(targets)}"
        )
    if not sources:
        return []
    device = next(model.parameters()).device if device is None else torch.device(device)
    src_ids = [[*ids, tokenizer.eos_id] for ids in tokenizer.encode_batch(list(sources))]
    tgt_ids = [
        [tokenizer.bos_id, *ids, tokenizer.eos_id] for ids in tokenizer.encode_batch(list(targets))
    ]
    order = sorted(range(len(src_ids)), key=lambda i: (len(tgt_ids[i]), len(src_ids[i]), i))
    src_lengths, tgt_lengths = (
        np.array([len(ids[i]) for i in order]) for ids in (src_ids, tgt_ids)
    )
    cuts = cut_by_tokens(src_lengths, tgt_lengths, batch_tokens)
    batches = [order[start:end] for start, end in itertools.pairwise([*cuts, len(order)])]
    totals: list[torch.Tensor] = []
    was_training = model.training
    model.eval()
    try:
        for rows in batches:
            src = pad([src_ids[i] for i in rows], tokenizer.pad_id).to(device)
            tgt = pad([tgt_ids[i] for i in rows], tokenizer.pad_id).to(device)
            logits = model(src, tgt[:, :-1])  # (B, T, V)
            nll = F.cross_entropy(
                logits.flatten(0, 1).float(),
                tgt[:, 1:].flatten(),
                ignore_index=tokenizer.pad_id,
                reduction="none",
            )
            totals.append(nll.view(len(rows), -1).sum(1))
    finally:
        model.train(was_training)
    nll_of = dict(zip(order, torch.cat(totals).tolist(), strict=True))
    return [CorpusLoss(nll_of[i], len(ids) - 1) for i, ids in enumerate(tgt_ids)]
