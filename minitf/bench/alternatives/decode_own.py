"""minitf's own search."""

from minitf.bench.alternatives.decode import Task, take_turns
from minitf.bench.rounds import Rounds
from minitf.config.schema import DecodingConfig, DecodingMethod
from minitf.decoding import generate_all
from minitf.evaluation import load


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
    config = DecodingConfig(method=method, beam_size=max(1, given.beams))

    def translate() -> list[list[int]]:
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

    take_turns(rounds, {"": translate})
