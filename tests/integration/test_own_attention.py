"""Attention classes of a user, from `python train.py` to `minitf translate`."""

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.integration.conftest import Train


@pytest.fixture
def mine(tmp_path: Path) -> dict[str, str]:
    """The environment in which `mine` can be imported."""
    (tmp_path / "mine.py").write_text(
        textwrap.dedent("""
            import torch
            from minitf.attention import MultiHeadAttention


            class Silent(MultiHeadAttention):
                def forward(self, *args, **kwargs):
                    return super().forward(*args, **kwargs)[0], None


            class Window(MultiHeadAttention):
                def forward(self, query, key, value, attn_mask=None, **kwargs):
                    if query is key:
                        i = torch.arange(query.shape[1])
                        far = (i[:, None] - i).abs() > 2
                        attn_mask = far if attn_mask is None else attn_mask | far
                    return super().forward(query, key, value, attn_mask=attn_mask, **kwargs)


            class OnlyOutput(MultiHeadAttention):
                def forward(self, *args, **kwargs):
                    return super().forward(*args, **kwargs)[0]


            class Whole(Window):
                supports_cache = False


            class Torchs(MultiHeadAttention):
                def forward(self, query, key, value, key_padding_mask=None, need_weights=True,
                            attn_mask=None, average_attn_weights=True, is_causal=False):
                    return super().forward(query, key, value, key_padding_mask, need_weights,
                                           attn_mask, average_attn_weights, is_causal)
        """)
    )
    return {"PYTHONPATH": str(tmp_path)}


def test_an_attention_without_weights_is_trained_and_used(
    train: Train, tmp_path: Path, mine: dict[str, str]
) -> None:
    done = train("attention._target_=mine.Silent", "run_dir=run", "trainer.max_steps=4", env=mine)
    assert done.returncode == 0, done.stderr
    assert "no attention map can be drawn: Silent gives no weights of every head" in done.stdout
    assert [path.name for path in (tmp_path / "run" / "figures").iterdir()] == ["curves.png"]
    assert "minitf translate run --attention mine.Silent\n" in done.stdout
    command = [sys.executable, "-m", "minitf", "translate", "run", "--attention", "mine.Silent"]
    command += ["--text", "a b", "--json"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **mine}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert {h["alignment"] for h in json.loads(done.stdout)["hypotheses"]} == {None}


def test_an_attention_that_a_cache_does_not_suit_is_told_what_to_say(
    train: Train, mine: dict[str, str]
) -> None:
    done = train("attention._target_=mine.Window", "run_dir=window", env=mine)
    assert done.returncode == 2
    assert re.search(r"attention: The shape of .*supports_cache = False\n$", done.stderr)
    assert "update" not in done.stdout  # it is told before the training


def test_an_attention_that_returns_something_else_is_told_what_to_return(
    train: Train, mine: dict[str, str]
) -> None:
    done = train("attention._target_=mine.OnlyOutput", env=mine)
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: attention: OnlyOutput.forward must return \(output, weights or None\), with an "
        r"output of the query's shape \((.*)\); received a Tensor of shape \(\1\)\n",
        done.stderr,
    )


@pytest.mark.parametrize(
    ("name", "where"), [("Whole", "encoder, decoder, cross"), ("Torchs", "encoder, cross")]
)
def test_an_attention_without_a_cache_is_trained(
    train: Train, mine: dict[str, str], name: str, where: str
) -> None:
    """Square brackets in a folder's name are printed as they are."""
    done = train(f"attention._target_=mine.{name}", f"model.attention_in=[{where}]",
                 "trainer.max_steps=20", "run_dir='a[b]'", env=mine)  # fmt: skip
    assert done.returncode == 0, done.stderr
    alone = "" if name == "Whole" else f", in {where} alone"
    assert f"attention mine.{name}{alone}\n" in done.stdout
    assert len(re.findall(r"^run +a\[b\]", done.stdout, re.MULTILINE)) == 2


def test_two_runs_are_compared_each_with_its_own_attention(
    train: Train, tmp_path: Path, mine: dict[str, str]
) -> None:
    for name in ("Silent", "Torchs"):
        done = train(
            f"attention._target_=mine.{name}", f"run_dir={name}", "trainer.max_steps=4", env=mine
        )
        assert done.returncode == 0, done.stderr

    def evaluate(*attentions: str) -> subprocess.CompletedProcess[str]:
        named = [x for name in attentions for x in ("--attention", f"mine.{name}")]
        command = [sys.executable, "-m", "minitf", "evaluate", "Silent", "Torchs", "--json"]
        return subprocess.run(
            [*command, "--limit", "5", *named], cwd=tmp_path, env={**os.environ, **mine},
            capture_output=True, text=True,
        )  # fmt: skip

    done = evaluate("Silent", "Torchs")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    losses = [result["loss"] for result in found["results"]]
    assert losses[0] == losses[1]  # the same formula, seed and updates
    done = evaluate("Silent", "Torchs", "Window")
    assert done.returncode == 2
    assert "once, or once for each of two runs; received 3 for 2" in done.stderr


@pytest.mark.parametrize("option", ["add_zero_attn", "add_bias_kv"])
def test_a_further_key_is_no_column_of_a_picture(train: Train, tmp_path: Path, option: str) -> None:
    done = train(f"+attention.{option}=true", "run_dir=run", "trainer.max_steps=4")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    command = [sys.executable, "-m", "minitf", "translate", "run", "--text", "a b c", "--json"]
    done = subprocess.run(
        [*command, "--attention-map", "map.png", "--max-length-ratio", "1"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert all(
        0 <= i < len(record["source_tokens"])
        for hypothesis in record["hypotheses"] for i in hypothesis["alignment"]
    )  # fmt: skip
    assert (tmp_path / "map.png").is_file()
