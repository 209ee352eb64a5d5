"""Small random models that end their sentences, and sources of different lengths."""

import itertools

import pytest
import torch
from torch import nn

from minitf.attention import MultiHeadAttention
from minitf.config.schema import DecodingConfig
from minitf.decoding import generate
from minitf.model import Transformer

PAD, BOS, EOS = 0, 1, 2
SPECIAL = {"pad_id": PAD, "bos_id": BOS, "eos_id": EOS}


@pytest.fixture(scope="session")
def make_model():
    """float64, so that rounding decides nothing, and `eos` is added to the logit of EOS.

    That is done by a dimension of the decoder's output that is always one, and which only the row
    of EOS in the projection looks at.
    """

    def make(vocab_size=17, *, cached=True, seed=1, eos=2.0, **options):
        torch.manual_seed(seed)
        sizes = {
            "embed_dim": 12, "num_heads": 3, "num_encoder_layers": 1, "num_decoder_layers": 2,
            "feedforward_dim": 19, "tied_embeddings": "untied", "dropout": 0.3,
        }  # fmt: skip
        attention = MultiHeadAttention if cached else nn.MultiheadAttention
        model = Transformer(vocab_size, **{**sizes, **options}, attention=attention).double()
        final_norm = model.decoder.norm or model.decoder.layers[-1].norm3
        with torch.no_grad():
            final_norm.weight[0], final_norm.bias[0] = 0.0, 1.0
            model.output_projection.weight *= 3.0
            model.output_projection.weight[:, 0] = 0.0
            model.output_projection.weight[EOS, 0] = eos
        return model

    return make


@pytest.fixture(scope="session")
def src():
    """Five sources of 4, 7, 1 (EOS alone), 6 and 3 tokens, EOS counted."""
    generator = torch.Generator().manual_seed(7)
    rows = torch.randint(3, 17, (5, 7), generator=generator)
    for row, length in zip(rows, (4, 7, 1, 6, 3), strict=True):
        row[length - 1] = EOS
        row[length:] = PAD
    return rows


@pytest.fixture(scope="session")
def decode():
    def run(model, src, prefix=None, **options):
        return generate(model, src, **SPECIAL, config=DecodingConfig(**options), prefix=prefix)

    return run


@pytest.fixture(scope="session")
def log_prob_of():
    """log P(tokens, EOS | source) of some targets, by one teacher-forced forward pass."""

    @torch.no_grad()
    def compute(model, source, *targets):
        source = source[source != PAD].expand(len(targets), -1)
        tgt = nn.utils.rnn.pad_sequence(
            [torch.tensor([BOS, *tokens, EOS]) for tokens in targets], batch_first=True
        )
        log_prob = model.eval()(source, tgt[:, :-1]).log_softmax(-1)
        of_tokens = log_prob.gather(-1, tgt[:, 1:, None]).squeeze(-1)
        return of_tokens.masked_fill(tgt[:, 1:] == PAD, 0.0).sum(1).tolist()

    return compute


@pytest.fixture(scope="session")
def all_targets():
    """Every target of at most `longest` ordinary tokens."""

    def enumerate_targets(vocab_size, longest, shortest=0):
        ordinary = range(3, vocab_size)
        for length in range(shortest, longest + 1):
            yield from (list(t) for t in itertools.product(ordinary, repeat=length))

    return enumerate_targets
