"""An attention of the user's own that raises: his frames, one line, and nothing lost."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.integration.conftest import Train

MINITF = [sys.executable, "-c", "import sys; from minitf.commands import main; sys.exit(main())"]


@pytest.fixture
def mine(tmp_path: Path) -> dict[str, str]:
    """The environment in which `mine` can be imported."""
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
            import torch
            from minitf.attention import MultiHeadAttention


            class Raises(MultiHeadAttention):
                def forward(self, *args, **kwargs):
                    raise IndexError("no such head")


            class WithoutWeights(MultiHeadAttention):
                def forward(self, *args, need_weights=True, **kwargs):
                    if need_weights:
                        raise NotImplementedError("as quick kernels do")
                    return super().forward(*args, need_weights=False, **kwargs)


            class ForgetsTheCache(MultiHeadAttention):
                def forward(self, query, key, value, attn_mask=None, is_causal=False, **kwargs):
                    if is_causal and query.shape[1] > 1:  # not for a single new token
                        i = torch.arange(query.shape[1])
                        attn_mask = (i[:, None] < i) | (i[:, None] - i > 1)
                    return super().forward(query, key, value, attn_mask=attn_mask, **kwargs)


            class ForgetsThePadding(MultiHeadAttention):
                def forward(self, *args, key_padding_mask=None, **kwargs):
                    return super().forward(*args, **kwargs)
        """)
    )
    return {"PYTHONPATH": str(tmp_path)}


def test_a_class_that_raises_in_training_and_in_a_sweep(
    train: Train, tmp_path: Path, mine: dict[str, str]
) -> None:
    classes = "mine.Raises,minitf.attention.MultiHeadAttention"
    done = train("-m", f"attention._target_={classes}", "run_dir=sweep", "trainer.max_steps=2",
                 env=mine)  # fmt: skip
    assert done.returncode == 2
    assert "error: IndexError in mine.py, line 8, forward: no such head\n" in done.stderr
    assert "lightning" not in done.stderr
    assert done.stderr.endswith("failed: attention._target_=mine.Raises\n")
    assert (tmp_path / "sweep" / "1" / "results.json").is_file()
    assert not (tmp_path / "sweep" / "0" / "results.json").exists()


def test_a_class_that_raises_where_weights_are_wanted(
    train: Train, tmp_path: Path, mine: dict[str, str]
) -> None:
    done = train("attention._target_=mine.WithoutWeights", "run_dir=run", "trainer.max_steps=2",
                 env=mine)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no attention map can be drawn: the attention gives no weights" in done.stdout
    assert "NotImplementedError: as quick kernels do" in done.stdout
    assert "test results" in done.stdout
    assert [p.name for p in (tmp_path / "run" / "figures").iterdir()] == ["curves.png"]

    def minitf(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*MINITF, *arguments], cwd=tmp_path, capture_output=True, text=True)

    chosen = ["run", "--attention", "mine.WithoutWeights", "--text", "a b", "--quiet"]
    translated = minitf("translate", *chosen, "--json")
    assert translated.returncode == 0, translated.stderr
    assert json.loads(translated.stdout)["hypotheses"][0]["alignment"] is None
    raising = minitf("translate", "run", "--attention", "mine.Raises", "--text", "a b")
    assert raising.returncode == 2
    assert raising.stderr.endswith("minitf: IndexError in mine.py, line 8, forward: no such head\n")
    assert "minitf/decoding" not in raising.stderr


def test_a_class_that_decodes_otherwise_than_it_trains(
    train: Train, tmp_path: Path, mine: dict[str, str]
) -> None:
    done = train("attention._target_=mine.ForgetsTheCache", "run_dir=run", env=mine)
    assert done.returncode == 2
    assert "error: attention: with a cache, as in decoding, the decoder's" in done.stderr
    assert not list((tmp_path / "run" / "checkpoints").glob("*.ckpt"))


def test_a_class_that_depends_on_its_batch_is_told_of(train: Train, mine: dict[str, str]) -> None:
    done = train("attention._target_=mine.ForgetsThePadding", "trainer.max_steps=2", env=mine)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("attention: two more padding tokens change the output by ") == 1


def test_half_precision_is_no_other_computation(
    train: Train, tmp_path: Path, mine: dict[str, str]
) -> None:
    done = train("attention._target_=mine.WithoutWeights", "trainer.precision=bf16-mixed",
                 "trainer.max_steps=2", env=mine)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "padding" not in done.stdout
