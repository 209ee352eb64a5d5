"""Models of every architecture, and random tokens to compare engines on.

The engines are extras: pip install 'minitf[export]'; without them their tests are skipped.
"""

import os
import subprocess
import sys

import pytest
import torch

import minitf

OVERRIDES = {
    "pre_sinusoidal": [],
    "post_sinusoidal": ["model.norm=post", "model.activation=gelu"],
    "post_two_way": ["model.norm=post", "model.tied_embeddings=two_way"],
    "post_untied": ["model.norm=post", "model.tied_embeddings=untied"],
    "pre_two_way": ["model.tied_embeddings=two_way"],
    "pre_untied": ["model.tied_embeddings=untied", "model.activation=gelu"],
    "pre_learned": ["model.positions=learned", "model.max_length=57", "model.num_decoder_layers=1"],
    "few_positions": ["model.positions=learned", "model.max_length=11"],
    "no_bias": ["+attention.bias=false"],
    "rotary": ["model.positions=rotary"],
    "small": ["model.num_encoder_layers=1", "model.num_decoder_layers=1"],
    "small_post_rotary": [
        "model.num_encoder_layers=1",
        "model.num_decoder_layers=1",
        "model.norm=post",
        "model.positions=rotary",
        "model.activation=swiglu",
        "model.tied_embeddings=two_way",
    ],
    "words": ["tokenizer=word", "tokenizer.min_frequency=1"],
    "characters": ["tokenizer=char", "tokenizer.min_frequency=1"],
    "swiglu": ["model.activation=swiglu", "model.norm=post"],
    "post_learned": ["model.positions=learned", "model.norm=post", "model.max_length=57"],
    "bias_kv": ["+attention.add_bias_kv=true"],
    "zero_attn": ["+attention.add_zero_attn=true"],
}


@pytest.fixture(scope="session")
def run_of(make_run):
    """The run directory of an architecture, by its name."""
    made = {}

    def run(name):
        if name not in made:
            made[name] = make_run(*OVERRIDES[name])
        return made[name]

    return run


@pytest.fixture(scope="session")
def load_with(run_of):
    """The model of an architecture, by its name."""
    made = {}

    def load(name):
        if name not in made:
            made[name] = minitf.load(run_of(name), device="cpu")
        return made[name]

    return load


@pytest.fixture(scope="session")
def tokens():
    """Padded random tokens, other than those that an export checks itself with."""

    def make(translator, seed=5):
        generator = torch.Generator().manual_seed(seed)
        src = torch.randint(4, translator.tokenizer.vocab_size, (5, 17), generator=generator)
        tgt = torch.randint(4, translator.tokenizer.vocab_size, (5, 11), generator=generator)
        for row, length in enumerate((17, 3, 11, 1, 7)):
            src[row, length - 1] = translator.tokenizer.eos_id
            src[row, length:] = translator.tokenizer.pad_id
        tgt[:, 0] = translator.tokenizer.bos_id
        return src, tgt

    return make


@pytest.fixture(scope="session")
def run_example():
    """Runs the example of an export's model card: it prints what the model writes."""

    def run(translator, directory):
        card = (directory / "README.md").read_text()
        example = card.split("```python\n")[1].split("```")[0]
        done = subprocess.run(
            [sys.executable, "-c", example], cwd=directory.parent, capture_output=True, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        sentence = "A small dog sleeps in the garden."
        # How long a sentence may grow differs from engine to engine.
        assert translator.translate([sentence])[0][:25] in done.stdout

    return run
