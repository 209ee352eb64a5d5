"""minitf's own search."""

from functools import partial

from minitf.bench.alternatives.decode import Task, take_turns
from minitf.bench.rounds import Rounds
from minitf.config.schema import DecodingConfig, DecodingMethod
from minitf.decoding import generate_all
from minitf.evaluation import load

GPU_BATCH_TOKENS = (8_192, 65_536)
"""Source positions of a batch, times beams; which is quicker is tried in the warm-up."""


def run(rounds: Rounds, task: str, model: str, device: str) -> None:
    """A worker's function.

    Args:
        rounds: the parent's word.
        task: the file of `minitf.bench.decoding.decoding_task`.
        model: the run directory.
        device: where to.
    """
    given = Task(task)
    loaded = load(model, device=device)
    method = DecodingMethod.beam if given.beams > 1 else DecodingMethod.greedy

    def translate(batch_tokens: int) -> list[list[int]]:
        config = DecodingConfig(
            method=method, beam_size=max(1, given.beams), batch_tokens=batch_tokens
        )
        outputs: dict[int, list[int]] = {}
        for rows, found in generate_all(
            loaded.model,
            given.sources,
            bos_id=given.bos_id,
            eos_id=given.eos_id,
            pad_id=given.pad_id,
            config=config,
        ):
            outputs |= {row: best[0].tokens for row, best in zip(rows, found, strict=True)}
        return [outputs[row] for row in range(len(given.sources))]

    if device == "cpu":
        ways = {"": partial(translate, DecodingConfig().batch_tokens)}
    else:
        ways = {f"batches of {n:,} tokens": partial(translate, n) for n in GPU_BATCH_TOKENS}
    take_turns(rounds, ways)
