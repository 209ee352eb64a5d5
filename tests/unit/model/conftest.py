"""Models and batches whose sizes are different primes, wherever heads allow it."""

import pytest
import torch

from minitf.model import Transformer

PAD = 0
B, S, T, H, E, V = 5, 7, 11, 3, 21, 29
SIZES = {
    "embed_dim": E,
    "num_heads": H,
    "num_encoder_layers": 2,
    "num_decoder_layers": 3,
    "feedforward_dim": 37,
}


@pytest.fixture
def sizes():
    return {"B": B, "S": S, "T": T, "H": H, "E": E, "V": V}


@pytest.fixture
def make_model():
    def make(seed=0, **options):
        torch.manual_seed(seed)
        return Transformer(V, **{**SIZES, "dropout": 0.0, **options})

    return make


@pytest.fixture
def batch():
    """Source (B, S) and target (B, T), padded on the right in two rows each."""
    generator = torch.Generator().manual_seed(3)
    src = torch.randint(3, V, (B, S), generator=generator)
    tgt = torch.randint(3, V, (B, T), generator=generator)
    src[2, 4:] = PAD
    src[4, 1:] = PAD
    tgt[1, 6:] = PAD
    tgt[3, 2:] = PAD
    return src, tgt
