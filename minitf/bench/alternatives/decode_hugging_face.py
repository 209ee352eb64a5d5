"""transformers' `generate`, on minitf's export."""

from functools import partial
from typing import Any

import torch

from minitf.attention.kernels.fused import suited_to_batches
from minitf.bench.alternatives.decode import Task, take_turns
from minitf.bench.rounds import Rounds
from minitf.config.schema import DecodingConfig
from minitf.decoding.batches import length_batches

BATCH_TOKENS = (2_048, 8_192)
"""Source positions of a batch, times beams."""


def run(rounds: Rounds, task: str, model: str, device: str) -> None:
    """A worker's function.

    What batch is the quickest is tried in the warm-up.

    Args:
        rounds: the parent's word.
        task: the file of `minitf.bench.decoding.decoding_task`.
        model: the export's directory.
        device: where to.
    """
    from transformers import AutoModelForSeq2SeqLM

    given = Task(task)
    loaded: Any = AutoModelForSeq2SeqLM.from_pretrained(model, attn_implementation="sdpa")
    loaded.to(device).eval()
    loaded.generation_config.max_length = None  # max_new_tokens stands in its place
    beam = {"early_stopping": True, "length_penalty": 1.0} if given.beams > 1 else {}

    @torch.inference_mode()
    def translate(batch_tokens: int) -> list[list[int]]:
        outputs: dict[int, list[int]] = {}
        lengths = [(len(source) + 1) * given.beams for source in given.sources]
        for batch in length_batches(lengths, DecodingConfig(batch_tokens=batch_tokens)):
            rows = [torch.tensor([*given.sources[row], given.eos_id]) for row in batch]
            src = torch.nn.utils.rnn.pad_sequence(rows, True, given.pad_id).to(device)
            found = loaded.generate(
                input_ids=src,
                attention_mask=(src != given.pad_id).long(),
                num_beams=given.beams,
                do_sample=False,
                max_new_tokens=max(given.longest[row] for row in batch) + 1,
                **beam,
            )
            for row, tokens in zip(batch, found[:, 1:].tolist(), strict=True):
                outputs[row] = tokens[: tokens.index(given.eos_id)]
        return [outputs[row] for row in range(len(given.sources))]

    ways = {f"batches of {tokens:,} tokens": partial(translate, tokens) for tokens in BATCH_TOKENS}
    with suited_to_batches(torch.device(device)):
        take_turns(rounds, ways)
