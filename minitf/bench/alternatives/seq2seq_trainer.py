"""Hugging Face's Seq2SeqTrainer around the Marian class, stopped and timed between its steps."""

import time
from collections.abc import Iterator
from typing import Any

import torch

from minitf.attention.kernels.fused import suited_to_batches
from minitf.bench.alternatives.hugging_face import marian
from minitf.bench.rounds import Rounds
from minitf.bench.task import TrainingTask, load_batches, longest_of, num_parameters, synchronize


def run(rounds: Rounds, task: dict[str, Any]) -> None:
    """A worker's function: one `train()`, whose steps wait for the parent's word."""
    from transformers import Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback

    settings = TrainingTask(**task)
    torch.manual_seed(1)
    model, _ = marian(settings)
    batches = load_batches(settings)

    class Examples(torch.utils.data.IterableDataset[dict[str, Any]]):
        """Whole batches, in the given order."""

        def __iter__(self) -> Iterator[dict[str, Any]]:
            for batch in (batch for group in batches for batch in group):
                labels = batch.tgt[:, 1:]
                yield {
                    "input_ids": batch.src,
                    "attention_mask": batch.src != settings.pad_id,
                    "decoder_input_ids": batch.tgt[:, :-1],
                    "labels": labels.masked_fill(labels == settings.pad_id, -100),
                }

    class Turns(TrainerCallback):  # type: ignore[misc]
        """Reports at a round's end and waits before the next."""

        def __init__(self) -> None:
            self._number: int | None = None
            self._start = 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % settings.steps == 0:
                self._wait()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % settings.steps == 0:
                assert self._number is not None
                synchronize(settings)
                seconds = time.perf_counter() - self._start
                tokens = sum(batch.tokens for batch in batches[self._number])
                rounds.report(seconds=seconds, tokens=tokens)

        def _wait(self) -> None:
            self._number = rounds.wait()
            if self._number is None:
                raise _Enough
            synchronize(settings)
            self._start = time.perf_counter()

    arguments = Seq2SeqTrainingArguments(
        output_dir="trainer",
        max_steps=len(batches) * settings.steps + 1,
        per_device_train_batch_size=1,
        label_smoothing_factor=settings.label_smoothing,
        max_grad_norm=settings.clip,
        learning_rate=settings.lr,
        optim="adamw_torch_fused",
        bf16=settings.precision == "bfloat16",
        torch_compile=settings.compile,
        torch_compile_mode=settings.compile_mode,
        save_strategy="no",
        logging_steps=50,
        report_to=[],
        disable_tqdm=True,
        use_cpu=settings.device == "cpu",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    trainer = Seq2SeqTrainer(
        model=model,
        args=arguments,
        train_dataset=Examples(),
        data_collator=lambda examples: examples[0],
        callbacks=[Turns()],
    )
    rounds.ready(parameters=num_parameters(model))
    try:
        with suited_to_batches(torch.device(settings.device), longest_of(batches)):
            trainer.train()
    except _Enough:
        return


class _Enough(Exception):  # noqa: N818 - not an error
    """The parent wants no more rounds."""
