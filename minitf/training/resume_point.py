"""Where a run goes on: what `last.ckpt` holds, checked against what it is to go on with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minitf.config import UserError
from minitf.evaluation.checkpoints import model_weights, read_checkpoint
from minitf.model import Transformer


@dataclass(frozen=True)
class ResumePoint:
    """The state of a run in its last checkpoint."""

    updates: int
    """That were made."""
    epochs: int
    """That came to their end."""
    is_cut_anew: bool
    """Whether the data fall into other batches than before, so that the place in the epoch is
    another: with another number of devices, or other BPE dropout."""

    def is_end(self, max_steps: int, max_epochs: int | None, run: str) -> bool:
        """Whether there is nothing left to train.

        Raises:
            UserError: the run has gone further already.
        """
        most = -1 if max_epochs is None else max_epochs
        limits = {"max_steps": (max_steps, self.updates, "updates"),
                  "max_epochs": (most, self.epochs, "epochs")}  # fmt: skip
        for name, (limit, made, unit) in limits.items():
            if made > limit >= 0:
                raise UserError(
                    f"trainer.{name}={limit} is fewer than the {made} {unit} that {run} has made: "
                    "give more, or leave it out to test the run again"
                )
        return any(made == limit for limit, made, _ in limits.values())


def resume_point(
    last: Path, stored: dict[str, Any], model: Transformer, devices: int
) -> ResumePoint:
    """Read a run's last checkpoint.

    Args:
        last: the file.
        stored: what checkpoints carry of the run as it goes on: configuration and fingerprints.
        model: what its weights are for.
        devices: how many train.

    Raises:
        UserError: there is no checkpoint, or it was trained with another tokenizer, on other data,
            or holds other weights.
    """
    if not last.is_file():
        raise UserError(
            f"there is no {last}: the first validation writes it, or five minutes of training; "
            "start the run again, without resume"
        )
    checkpoint = read_checkpoint(last)
    trained = checkpoint.get("minitf", {})
    if trained.get("tokenizer") != stored["tokenizer"]:
        raise UserError(
            f"{last} was trained with another tokenizer than the run's tokenizer.json "
            f"({trained.get('tokenizer')} against {stored['tokenizer']})"
        )
    if trained.get("data", stored["data"]) != stored["data"]:
        raise UserError(
            "the training data are not those that the run was trained on, and its place in them "
            "would mean nothing: put them back, or start a new run"
        )
    shapes, wanted = (
        {name: tuple(weight.shape) for name, weight in weights.items()}
        for weights in (model_weights(checkpoint), model.state_dict())
    )
    if other := sorted(dict(shapes.items() ^ wanted.items())):
        raise UserError(
            f"{last} holds other weights than the model that was asked for ({len(other)} differ, "
            f"such as {other[0]}): leave attention as the run has it"
        )
    updates = int(checkpoint["global_step"])
    before, now = (x["config"]["tokenizer"]["dropout"] for x in (trained, stored))
    return ResumePoint(
        updates,
        int(checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]),
        before != now or len(checkpoint["random_state"]) != devices,
    )
