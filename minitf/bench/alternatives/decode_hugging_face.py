"""transformers' `generate`, on minitf's export."""

from typing import Any

import torch

from minitf.bench.alternatives.decode import Task, take_turns
from minitf.bench.rounds import Rounds


def run(rounds: Rounds, task: str, model: str, device: str) -> None:
    """A worker's function.

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
    def translate() -> list[list[int]]:
        outputs: dict[int, list[int]] = {}
        for batch, longest in zip(given.batches, given.longest, strict=True):
            rows = [torch.tensor([*given.sources[row], given.eos_id]) for row in batch]
            src = torch.nn.utils.rnn.pad_sequence(rows, True, given.pad_id).to(device)
            found = loaded.generate(
                input_ids=src,
                attention_mask=(src != given.pad_id).long(),
                num_beams=given.beams,
                do_sample=False,
                max_new_tokens=longest + 1,
                **beam,
            )
            for row, tokens in zip(batch, found[:, 1:].tolist(), strict=True):
                outputs[row] = tokens[: tokens.index(given.eos_id)]
        return [outputs[row] for row in range(len(given.sources))]

    take_turns(rounds, translate)
