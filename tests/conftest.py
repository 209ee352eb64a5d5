"""What every test shares: quiet, offline, and patient where the machine is busy."""

import os
import sys
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import jaxtyping
import pytest
from hypothesis import settings

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # waiting threads leave a busy core to others
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for deterministic sums on a GPU
_CACHE = tempfile.TemporaryDirectory(prefix="minitf-tests-")
os.environ["XDG_CACHE_HOME"] = _CACHE.name  # nothing that tests make stays in the user's
if "PYTEST_XDIST_WORKER" in os.environ:  # one of several processes, which share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _names_gpu(expression: str) -> bool:
    return "gpu" in expression.replace("not gpu", "")


# The tests for a GPU compile in this process. Told now, for other conftests import the package
# before any hook is called; and in the environment, which is there in processes of pytest-xdist.
if any(_names_gpu(after) for before, after in pairwise(sys.argv) if before == "-m"):
    os.environ["MINITF_TYPECHECK"] = "0"
if os.environ.get("MINITF_TYPECHECK", "1") != "0":
    # Shapes written in attention/ and model/ are checked while testing. torch.compile cannot trace
    # the check: other tests that compile do so in a process of their own, with MINITF_TYPECHECK=0.
    jaxtyping.install_import_hook(["minitf.attention", "minitf.model"], "beartype.beartype")


settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")

SENTENCES = [
    ("A small dog sleeps.", "Ein kleiner Hund schläft."),
    ("Two children read a thick book in the garden.", "Zwei Kinder lesen ein Buch im Garten."),
    ("The woman sees the man.", "Die Frau sieht den Mann."),
    ("Cats sleep.", "Katzen schlafen."),
    ("Yesterday the old farmer bought seven geese.", "Gestern kaufte der Bauer sieben Gänse."),
    ("Why does nobody laugh?", "Warum lacht niemand?"),
]
"""Text for tests that need some."""


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs, whose sums are no exact ones, unless their tests are asked for."""
    if not _names_gpu(config.getoption("markexpr")):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Spread the whole suite over up to four cores; files that are named, and a GPU, take one."""
    if config.getoption("file_or_dir") or _names_gpu(config.getoption("markexpr")):
        return 0
    return min(4, len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1)


@pytest.fixture(scope="session")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes run directories as training does, with random weights: `make_run("model.norm=post")`.

    The model is stirred so that what it writes depends on the source and sometimes ends: large
    cross-attention, a large EOS embedding, no bias at zero.
    """

    def make(*overrides: str, seed: int = 3) -> Path:
        import torch
        from omegaconf import OmegaConf

        from minitf.config.compose import compose_config, plain, to_dataclass
        from minitf.evaluation.build import build_model
        from minitf.tokenizer import train_tokenizer

        run_dir = tmp_path_factory.mktemp("run")
        config = compose_config(
            ["data=reverse", "model=nano", "tokenizer.vocab_size=300", "model.embed_dim=24",
             "model.num_heads=3", "model.feedforward_dim=40", f"run_dir={run_dir}", *overrides]
        )  # fmt: skip
        OmegaConf.save(OmegaConf.create(plain(config)), run_dir / "config.yaml")
        settings = to_dataclass(config)
        texts = [text for pair in SENTENCES for text in pair]
        tokenizer = train_tokenizer(texts, settings.tokenizer)
        tokenizer.save(run_dir / "tokenizer.json")
        (run_dir / "checkpoints").mkdir()
        for offset, name in enumerate(("best", "last", "epoch-0000", "epoch-0001")):
            torch.manual_seed(seed + offset)
            model = build_model(
                settings.model, settings.attention, tokenizer.vocab_size, tokenizer.pad_id
            )
            with torch.no_grad():
                for parameter_name, parameter in model.named_parameters():
                    if "multihead_attn" in parameter_name and parameter.dim() > 1:
                        parameter.mul_(8)
                    if "embedding" not in parameter_name:
                        parameter.add_(0.02 * torch.randn_like(parameter))
                model.tgt_embedding.weight[tokenizer.eos_id] *= 2
            torch.save(
                {
                    "state_dict": {f"model.{k}": v for k, v in model.state_dict().items()},
                    "global_step": 10 * offset,
                    "minitf": {"tokenizer": tokenizer.fingerprint, "config": plain(config)},
                },
                run_dir / "checkpoints" / f"{name}.ckpt",
            )
        return run_dir

    return make


@pytest.fixture(scope="session")
def tiny_run(make_run: Callable[..., Path]) -> Path:
    """A run directory with the default architecture; tests leave it as it is."""
    return make_run()


@pytest.fixture(scope="session")
def sentences() -> list[tuple[str, str]]:
    """English and German sentence pairs."""
    return SENTENCES
