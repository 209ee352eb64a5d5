"""Any number of sources: batches of like lengths, decoded, and numbered as they came."""

from collections.abc import Iterator, Sequence

import torch

from minitf.config.schema import DecodingConfig
from minitf.decoding.generate import generate
from minitf.decoding.hypothesis import Hypothesis
from minitf.decoding.workers import side_by_side, workers_on
from minitf.model import Transformer


def generate_all(
    model: Transformer,
    sources: Sequence[Sequence[int]],
    *,
    bos_id: int,
    eos_id: int,
    pad_id: int,
    config: DecodingConfig | None = None,
    prefix: Sequence[Sequence[int]] | None = None,
    device: torch.device | None = None,
) -> Iterator[tuple[list[int], list[list[Hypothesis]]]]:
    """Translate longest first: a batch holds like lengths, and a lack of memory shows at once.

    On a CPU batches are decoded side by side, if no module of the model is a user's own, which may
    keep something from one step to the next; the last ones are cut so that all cores have work.

    Args:
        model: in evaluation mode.
        sources: tokens of each sentence, without EOS; those without a token are left out.
        bos_id: the begin-of-sentence token's id.
        eos_id: the end-of-sentence token's id.
        pad_id: the padding token's id.
        config: the search; None: greedy.
        prefix: for each sentence the tokens that its target must begin with, without BOS.
        device: where to; None: where the model is.

    Yields:
        The numbers of some sentences, and each one's hypotheses as `generate` gives them.

    Raises:
        UserError: as `generate` does.
    """
    config = config if config is not None else DecodingConfig()
    device = next(model.parameters()).device if device is None else device
    workers = workers_on(device) if _is_stateless(model) else 1

    @torch.inference_mode()
    def decode(rows: list[int]) -> list[list[Hypothesis]]:
        src = pad([[*sources[i], eos_id] for i in rows], pad_id).to(device)
        return generate(
            model,
            src,
            bos_id=bos_id,
            eos_id=eos_id,
            pad_id=pad_id,
            config=config,
            prefix=None if prefix is None else [prefix[i] for i in rows],
        )

    batches = list(length_batches([len(source) + 1 for source in sources], config))
    if rest := len(batches) % workers:  # all have the same to do
        parts = [rows[i::workers] for rows in batches[-rest:] for i in range(workers)]
        batches = [*batches[:-rest], *filter(None, parts)]
    yield from zip(batches, side_by_side(decode, batches, workers), strict=True)


def _is_stateless(model: Transformer) -> bool:
    """Whether several threads may call the model: torch's modules and ours keep nothing."""
    return all(type(m).__module__.startswith(("minitf.", "torch.nn.")) for m in model.modules())


def length_batches(lengths: Sequence[int], config: DecodingConfig) -> Iterator[list[int]]:
    """Indices of like-length sources, longest first, within `decoding.batch_tokens`.

    Args:
        lengths: tokens of each source, EOS counted; sources of EOS alone are left out.
        config: its `batch_tokens` bounds rows x longest x hypotheses kept per sentence; a batch
            holds at least one sentence.
    """
    order = sorted((i for i, n in enumerate(lengths) if n > 1), key=lambda i: (-lengths[i], i))
    copies = {"greedy": 1, "beam": config.beam_size, "sample": config.n_best}[config.method]
    start = 0
    while start < len(order):
        rows = max(1, config.batch_tokens // (lengths[order[start]] * max(1, copies)))
        yield order[start : start + rows]
        start += rows


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> torch.Tensor:
    """(B, longest) int64, right-padded."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[pad_id] * (longest - len(row))] for row in rows])
