"""From the first update to the last, and what can go wrong on the way."""

import shlex
from pathlib import Path

from lightning.pytorch import Trainer
from rich.console import Console

from minitf.attention.errors import AttentionError, OutputError
from minitf.attention.kernels.fused import suited_to_batches
from minitf.config import UserError
from minitf.config.memory import is_lack_of_memory
from minitf.config.schema import TrainConfig
from minitf.evaluation.build import attention_path, is_named_by_the_user
from minitf.evaluation.checkpoints import read_checkpoint
from minitf.model import Transformer
from minitf.training.callbacks import AtOnce, Interrupted, Interruption
from minitf.training.checks import CACHE_RULE
from minitf.training.data import TranslationData
from minitf.training.directory import shown
from minitf.training.module import TranslationModule
from minitf.training.trainer import lightning_refusal


def fit(
    settings: TrainConfig,
    trainer: Trainer,
    module: TranslationModule,
    data: TranslationData,
    interruption: Interruption,
    run_dir: Path,
    console: Console,
) -> None:
    """Train to the end, from `last.ckpt` where the run is resumed.

    Args:
        settings: the run's configuration.
        trainer: has all callbacks.
        module: what is trained.
        data: on what.
        interruption: of the callbacks, the one that hears signals.
        run_dir: holds `checkpoints/last.ckpt` afterwards.
        console: where the user is told of a stop.

    Raises:
        UserError: what went wrong on the way, where a user can put it right.
        Interrupted: a signal ended the training.
        KeyboardInterrupt: a signal ended it at once, without a checkpoint of its own.
    """
    last = run_dir / "checkpoints" / "last.ckpt"
    start = None if settings.resume is None else last
    try:
        with suited_to_batches(trainer.strategy.root_device, data.longest):
            trainer.fit(module, data, ckpt_path=start, weights_only=True)
        if not last.is_file() or read_checkpoint(last)["global_step"] < trainer.global_step:
            trainer.save_checkpoint(last)  # no update was made, or a callback ended it in between
    except Interrupted as interrupted:
        console.print(
            f"stopped after update {trainer.global_step} ({interrupted}); "
            f"go on with: python train.py {shlex.quote(f'resume={shown(run_dir)}')}",
            highlight=False,
        )
        raise
    except AttentionError as error:  # such as a kernel that cannot do what training asks of it
        hint = "" if isinstance(error, OutputError) else _cache_hint(settings, module.model)
        raise UserError(f"attention: {error}{hint}") from error
    except UserError:
        raise
    except AtOnce:
        raise KeyboardInterrupt from None
    except Exception as error:
        if interruption.by_ctrl_c:  # such as of a compiler that it ended too
            first = next(iter(str(error).splitlines()), "")
            console.print(f"{type(error).__name__}: {first}", highlight=False)
            raise KeyboardInterrupt from error
        if is_lack_of_memory(error):
            graphs = ", or cuda_graphs=false" if settings.cuda_graphs else ""
            raise UserError(
                f"the device is out of memory after update {trainer.global_step}: take a smaller "
                f"batching.tokens (it is {settings.batching.tokens}), with more "
                f"trainer.accumulate_grad_batches{graphs}"
            ) from error
        if refusal := lightning_refusal(error):
            raise UserError(f"trainer: {refusal}") from error
        raise


def _cache_hint(settings: TrainConfig, model: Transformer) -> str:
    own = is_named_by_the_user(attention_path(settings.attention))
    if not own or model.training or model.new_state() is None:
        return ""
    return f"; {CACHE_RULE}"
