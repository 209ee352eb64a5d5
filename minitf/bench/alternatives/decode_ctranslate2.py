"""CTranslate2's Translator, on minitf's export."""

from minitf.bench.alternatives.decode import Task, Translate, take_turns
from minitf.bench.rounds import Rounds

BATCH_TOKENS = (512, 1_024, 2_048, 4_096)


def run(rounds: Rounds, task: str, model: str, device: str, compute_type: str, cores: int) -> None:
    """A worker's function.

    Its documentation leaves batch size and the split of cores into parallel batches to the user:
    all are tried here in the warm-up, and the fastest is measured.

    Args:
        rounds: the parent's word.
        task: the file of `minitf.bench.decoding.decoding_task`.
        model: the export's directory.
        device: where to.
        compute_type: float32, int8, float16, …
        cores: threads that it may take in all.
    """
    import ctranslate2

    given = Task(task)
    sources = [[given.vocabulary[token] for token in row] for row in given.sources]
    ids = {token: number for number, token in enumerate(given.vocabulary)}

    def translator(parallel: int, tokens: int) -> Translate:
        engine = ctranslate2.Translator(
            model,
            device=device,
            compute_type=compute_type,
            inter_threads=parallel,
            intra_threads=cores // parallel,
        )

        def translate() -> list[list[int]]:
            found = engine.translate_batch(
                sources,
                beam_size=given.beams,
                max_batch_size=tokens,
                batch_type="tokens",
                max_decoding_length=max(given.longest) + 1,
                min_decoding_length=0,
            )
            return [[ids[token] for token in one.hypotheses[0]] for one in found]

        return translate

    splits = [n for n in range(1, cores + 1) if cores % n == 0] if device == "cpu" else [1]
    ways = {
        f"{parallel} × {cores // parallel} threads, batches of {tokens:,} tokens": translator(
            parallel, tokens
        )
        for parallel in splits
        for tokens in BATCH_TOKENS
    }
    take_turns(rounds, ways)
