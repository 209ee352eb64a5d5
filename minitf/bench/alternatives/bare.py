"""Any library's model in the bare loop."""

import importlib
import time
from typing import Any

import torch

from minitf.attention.kernels.fused import suited_to_batches
from minitf.bench.rounds import Rounds
from minitf.bench.task import (
    BareLoop,
    Build,
    TrainingTask,
    load_batches,
    longest_of,
    num_parameters,
    synchronize,
)


def run(rounds: Rounds, library: str, task: dict[str, Any]) -> None:
    """A worker's function: build `minitf.bench.alternatives.LIBRARY`'s model, train on demand.

    Args:
        rounds: the parent's word.
        library: the file's name, or name and function as in `hugging_face:marian`.
        task: a TrainingTask as plain values.
    """
    settings = TrainingTask(**task)
    module, _, function = library.partition(":")
    place = importlib.import_module(f"minitf.bench.alternatives.{module}")
    build: Build = getattr(place, function or "build")
    torch.manual_seed(1)
    model, loss = build(settings)
    model.to(settings.device)
    batches = load_batches(settings)
    loop: BareLoop = getattr(place, "Loop", BareLoop)(model, loss, settings)
    rounds.ready(parameters=num_parameters(model))
    with suited_to_batches(torch.device(settings.device), longest_of(batches)):
        while (number := rounds.wait()) is not None:
            synchronize(settings)
            start = time.perf_counter()
            for batch in batches[number]:
                loop.update(batch)
            synchronize(settings)
            seconds = time.perf_counter() - start
            rounds.report(seconds=seconds, tokens=sum(batch.tokens for batch in batches[number]))
