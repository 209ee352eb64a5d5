"""The LightningModule: one update of the Transformer, and its validation."""

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from minitf.batching import Batch
from minitf.config.schema import DecodingConfig, TrainConfig
from minitf.evaluation.metrics import bleu
from minitf.evaluation.translate import translate_texts
from minitf.model import Transformer
from minitf.model.loss import LossSums, label_smoothed_cross_entropy, linear_cross_entropy
from minitf.tokenizer import TextTokenizer
from minitf.training.checks import check_decoding, check_finite, notes_on_batches
from minitf.training.cuda_graphs import GraphedGradients
from minitf.training.optimizer import build_optimizer, build_schedule, gradients, set_options


class TranslationModule(LightningModule):
    """Trains a model on cross-entropy per target token.

    The gradient of an update is that of the loss summed over all its target tokens, divided by
    their number, however they fall into micro-batches and onto devices.

    Args:
        config: optimiser, schedule, objective and evaluation are read.
        model: what is trained.
        tokenizer: turns validation's output into text.
        val_pairs: sources and references translated at each validation; may be empty.
        stored: plain containers that every checkpoint carries (configuration, fingerprints).
    """

    def __init__(
        self,
        config: TrainConfig,
        model: Transformer,
        tokenizer: TextTokenizer,
        val_pairs: tuple[list[str], list[str]] = ([], []),
        stored: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self._config = config
        self.tokenizer = tokenizer
        self._val_pairs = val_pairs
        self.stored = stored or {}
        if config.compile:
            model.compile_layers()
        self._graphs: GraphedGradients | None = None
        if config.cuda_graphs:
            self._graphs = GraphedGradients(self._objective, model.parameters())
        self._window_tokens = 0
        self._totals: list[Tensor] = []
        self._total_tokens = 0
        self._carried = 0
        self._grad_norm: Tensor | None = None
        self._val_sums: list[Tensor] = []
        self._val_tokens = 0
        self._plan: tuple[list[Any], float] | None = None

    # One update -----------------------------------------------------------------------------

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The objective on a batch: a sum over target tokens, divided as `_divisor` says."""
        begins = not self.mid_update
        self._total_tokens += batch.num_target_tokens
        self._window_tokens += batch.num_target_tokens
        if self._graphs is not None:
            return self._graphed_step(self._graphs, batch, begins)
        sums = self._objective(batch.src, batch.tgt)
        self._totals.append(torch.stack((sums.loss.detach(), sums.nll)))
        return sums.loss / self._divisor(batch)

    @property
    def tokens_not_logged(self) -> int:
        """Target tokens that a checkpoint brought, over all devices, until `pop_totals`."""
        return self._carried

    @property
    def mid_update(self) -> bool:
        """Whether an update has some of its micro-batches and waits for more."""
        return self._window_tokens > 0

    def _graphed_step(self, graphs: GraphedGradients, batch: Batch, begins: bool) -> Tensor:
        """The same with the backward pass in it, and the zeroing before that."""
        parts = self.trainer.accumulate_grad_batches
        if begins:
            graphs.zero()
        divisor = self._divisor(batch)
        totals = graphs.add(batch.src, batch.tgt, 1.0 / divisor / parts).clone()
        self._totals.append(totals)
        return totals[0] / divisor

    def optimizer_zero_grad(self, epoch: int, batch_idx: int, optimizer: Optimizer) -> None:
        """Lightning's own, unless the step has done it."""
        if self._graphs is None:
            super().optimizer_zero_grad(epoch, batch_idx, optimizer)

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Lightning's own, unless the step has done it."""
        if self._graphs is None:
            super().backward(loss, *args, **kwargs)

    def _objective(self, src: Tensor, tgt: Tensor) -> LossSums:
        objective = self._config.objective
        tgt_in = tgt[:, :-1]
        if objective.r_drop:  # the batch twice, under two dropout masks
            src, tgt_in = src.repeat(2, 1), tgt_in.repeat(2, 1)
        return linear_cross_entropy(
            self.model.hidden(src, tgt_in),
            self.model.output_projection.weight,
            tgt[:, 1:],
            label_smoothing=objective.label_smoothing,
            pad_id=self.model.pad_id,
            r_drop=objective.r_drop,
        )

    @property
    def _several_parts(self) -> bool:
        """Whether an update's tokens come in several micro-batches or from several devices."""
        return self.trainer.accumulate_grad_batches > 1 or self.trainer.world_size > 1

    def _divisor(self, batch: Batch) -> float:
        """The batch's tokens; a constant of that size where other parts add to the update."""
        return self._constant_divisor if self._several_parts else float(batch.num_target_tokens)

    @property
    def _constant_divisor(self) -> float:
        return (self._config.batching.tokens or 4_096) / 2

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Divide by the number of tokens that went into this update, on all devices together.

        Lightning has divided by the number of micro-batches and averaged over the devices.
        """
        tokens, self._window_tokens = self._window_tokens, 0
        if not self._several_parts:
            return
        trainer = self.trainer
        total = _exact(torch.full((), float(tokens), device=self.device))
        if trainer.world_size > 1:
            total = trainer.strategy.reduce(total, reduce_op="sum")
        parts = trainer.accumulate_grad_batches * trainer.world_size
        # On the device throughout: no update waits for it.
        found = gradients(self.parameters())
        factor = self._constant_divisor * parts / total
        torch._foreach_mul_(found, factor.to(found[0].dtype))

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as `trainer.gradient_clip_val` says, and keep the norm for the log."""
        if gradient_clip_algorithm == "value":
            # Not by Lightning, which refuses it where the optimiser is fused.
            if gradient_clip_val:
                torch.nn.utils.clip_grad_value_(self.parameters(), gradient_clip_val)
            return
        limit = gradient_clip_val or math.inf
        # foreach: one kernel for all parameters.
        self._grad_norm = torch.nn.utils.clip_grad_norm_(self.parameters(), limit, foreach=True)

    def pop_totals(self) -> tuple[float, float, float, float | None] | None:
        """Loss, negative log-likelihood and tokens summed since the last call, and gradient norm.

        Summed over the devices. Waits for the device, so call it rarely. None: nothing happened.
        """
        if not self._totals:
            return None
        loss, nll = _exact(torch.stack(self._totals)).sum(0).unbind()
        sums = torch.stack((loss, nll, torch.full_like(loss, float(self._total_tokens))))
        if self.trainer.world_size > 1:
            sums = self.trainer.strategy.reduce(sums, reduce_op="sum")
        self._totals.clear()
        self._total_tokens = self._carried = 0
        norm = None if self._grad_norm is None else float(self._grad_norm)
        loss_sum, nll_sum, tokens = sums.tolist()
        return loss_sum, nll_sum, tokens, norm

    def on_train_start(self) -> None:
        """Let a resumed run follow its configuration where that was changed."""
        self._totals = [total.to(self.device) for total in self._totals]
        optimizer, schedule = self.trainer.optimizers[0], self.lr_schedulers()
        if isinstance(schedule, LambdaLR):
            set_options(self.model, optimizer, schedule, self._config.optimizer)

    # Validation -----------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add up the batch's negative log-likelihood. Every device validates all of `val`."""
        if self.trainer.sanity_checking:
            check_decoding(self.model, batch.src[:2], batch.tgt_in[:2])
            for note in notes_on_batches(self.model, batch.src[:2], batch.tgt_in[:2]):
                self.print(note)
        logits = self.model(batch.src, batch.tgt_in)
        sums = label_smoothed_cross_entropy(logits, batch.tgt_out, pad_id=self.model.pad_id)
        self._val_sums.append(sums.nll)
        self._val_tokens += batch.num_target_tokens

    def on_validation_epoch_end(self) -> None:
        """Log `val/loss`, `val/perplexity`, and `val/bleu` of greedy translations."""
        loss = (_exact(torch.stack(self._val_sums)).sum() / self._val_tokens).float()
        self._val_sums.clear()
        self._val_tokens = 0
        if not self.trainer.sanity_checking:  # decoding will say what an attention of one's own is
            check_finite("validation", float(loss), self.trainer.global_step)
        found = {"val/loss": loss, "val/perplexity": loss.exp()}
        sources, references = self._val_pairs
        if self.trainer.sanity_checking:  # that it runs: with random weights no translation ends
            sources, references = sources[:2], references[:2]
        if sources:
            translations = translate_texts(
                self.model, self.tokenizer, sources, DecodingConfig(), self.device
            )
            score = bleu(
                [t.text for t in translations],
                references,
                tokenize=self._config.evaluation.tokenize,
                lowercase=self._config.evaluation.lowercase,
            )
            found["val/bleu"] = torch.tensor(score.value)
        self.log_dict(found, logger=False)
        if not self.trainer.sanity_checking:
            values = {name: float(value) for name, value in found.items()}
            for logger in self.trainer.loggers:  # Lightning would count the updates from 0
                logger.log_metrics(
                    {**values, "epoch": self.trainer.current_epoch}, step=self.trainer.global_step
                )

    # Optimiser and checkpoint -----------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Adam or AdamW, with its schedule stepped once an update."""
        fused = self.trainer.precision != "16-mixed"
        optimizer = build_optimizer(self.model, self._config.optimizer, fused=fused)
        trainer = self.trainer
        # By the present epoch's length, which BPE dropout changes: a resumed run keeps the plan.
        limits = [trainer.max_steps, trainer.max_epochs, trainer.accumulate_grad_batches,
                  trainer.limit_train_batches, trainer.world_size]  # fmt: skip
        planned = self._plan[1] if self._plan and self._plan[0] == limits else None
        self._plan = (limits, planned or trainer.estimated_stepping_batches)
        schedule = build_schedule(optimizer, self._config.schedule, self._plan[1])
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the configuration, as plain containers, the plan, and what is not logged yet."""
        checkpoint["minitf"] = self.stored
        checkpoint["planned"] = self._plan
        stacked = torch.stack(self._totals).cpu() if self._totals else torch.zeros(0, 2)
        mine = {"totals": stacked, "tokens": self._total_tokens}
        every: list[Any] = [mine] * self.trainer.world_size
        if len(every) > 1:  # Lightning calls this on every device
            torch.distributed.all_gather_object(every, mine)
        checkpoint["not_logged"] = every

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what was not logged yet, and the plan that the schedule follows."""
        self._plan = checkpoint.get("planned")
        every = checkpoint.get("not_logged", [])
        every = [every] if isinstance(every, dict) else every  # of before: of one device
        rank = self.trainer.global_rank
        mine = every[rank : rank + 1]
        if len(every) != self.trainer.world_size:  # of other devices: the first takes it all
            mine = every if rank == 0 else []
        self._totals = [total for part in mine for total in part["totals"]]
        self._total_tokens = sum(part["tokens"] for part in mine)
        self._carried = sum(part["tokens"] for part in every)


def _exact(x: Tensor) -> Tensor:
    """In float64, which not every accelerator has."""
    return x.double() if x.device.type in ("cpu", "cuda") else x.float()
