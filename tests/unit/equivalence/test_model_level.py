import pytest
import torch
from plain_attention import DropsPaddingInCrossAttention, PlainAttention

from minitf.attention import MultiHeadAttention, linear
from minitf.config.errors import UserError
from minitf.config.schema import ModelConfig, Norm, Positions
from minitf.equivalence.implementations import Implementation, resolve
from minitf.equivalence.model_level import run_model_level
from minitf.equivalence.summaries import summarize_model
from minitf.equivalence.task import letters_task
from minitf.equivalence.verdict import Verdict

CPU = torch.device("cpu")
TORCH, CUSTOM = resolve("reference", "torch"), resolve("candidate", "custom")
SMALL = ModelConfig(
    embed_dim=22, num_heads=2, num_encoder_layers=1, num_decoder_layers=2, feedforward_dim=31
)


def run(candidate, dtype=torch.float32, config=SMALL, reference=TORCH, seed=3):
    return run_model_level(
        reference, candidate, config, letters_task(seed), dtype, CPU, seed, batch_size=5
    )


@pytest.mark.skipif(not torch._C._has_mkldnn, reason="this torch has no oneDNN")
def test_looking_on_does_not_change_what_multiplies(monkeypatch):
    monkeypatch.setattr(linear, "mkl_leaves_avx512", lambda: True)
    monkeypatch.setattr(linear, "FEWEST_PRODUCTS", 0)
    result = run(TORCH)
    assert result.verdict is Verdict.bit_identical, result.finding
    assert len(result.local) == 8


@pytest.mark.parametrize("norm", [Norm.pre, Norm.post])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_custom_is_torch_to_the_last_bit(norm, dtype):
    result = run(CUSTOM, dtype, ModelConfig(**vars(SMALL) | {"norm": norm}))
    assert result.verdict is Verdict.bit_identical
    assert result.first_divergence == ""


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str
)
@pytest.mark.parametrize("seed", [1, 2])
def test_another_summation_order_is_within_rounding_in_every_layer(dtype, seed):
    result = run(Implementation("plain", PlainAttention), dtype, seed=seed)
    assert result.verdict is Verdict.within_rounding, result.finding
    assert result.first_divergence == "encoder.layers.0.self_attn"


def test_a_bug_is_traced_to_the_layers_that_add_error():
    result = run(Implementation("buggy", DropsPaddingInCrossAttention))
    assert result.verdict is Verdict.different
    # only cross-attention is wrong: the encoder is clean, self-attention inherits and adds nothing
    guilty = [name for name in result.adding_layers if name.endswith("attn")]
    assert guilty == ["decoder.layers.0.multihead_attn", "decoder.layers.1.multihead_attn"]
    free = {t.name: t.verdict for t in result.free}
    assert free["decoder.layers.1.self_attn"] is Verdict.different
    assert result.finding.startswith("decoder.layers.0.multihead_attn on the reference's inputs")
    report = summarize_model(result, torch.float32)
    assert "error is added by decoder.layers.0.multihead_attn" in report.findings[1]


def test_a_bug_in_the_gradient_alone_is_found():
    class Detached(PlainAttention):
        def forward(self, query, key, value, **options):
            return super().forward(query, key, value.detach(), **options)

    result = run(Implementation("detached", Detached))
    assert result.verdict is Verdict.different
    assert {t.verdict for t in result.local} <= {Verdict.bit_identical, Verdict.within_rounding}
    assert "gradient" in result.finding


class Window(MultiHeadAttention):
    """Another formula than the oracle's."""

    supports_cache = False

    def __init__(self, *args, window=2, **kwargs):
        super().__init__(*args, **kwargs)
        self.window = window

    def forward(self, query, key, value, attn_mask=None, **options):
        if query is key:
            i = torch.arange(query.shape[1])
            far = (i[:, None] - i).abs() > self.window
            attn_mask = far if attn_mask is None else attn_mask | far
        return super().forward(query, key, value, attn_mask=attn_mask, **options)


def test_two_of_another_formula_are_judged_by_each_other():
    window = Implementation("window", Window)
    math = run(Implementation("window", Window, {"kernel": "math"}), reference=window)
    assert math.verdict is Verdict.within_rounding, math.finding
    assert math.adding_layers == []
    (note,) = summarize_model(math, torch.float32).notes
    assert note.startswith("the reference does not compute the paper's formula")
    wider = run(Implementation("window", Window, {"window": 3}), reference=window)
    assert wider.verdict is Verdict.different
    assert "distance from the reference" in wider.finding


def test_rotary_positions_have_a_truth_too():
    config = ModelConfig(**vars(SMALL) | {"positions": Positions.rotary, "embed_dim": 24})
    fast = resolve("candidate", {"name": "custom", "kernel": "fast"})
    result = run(fast, torch.float64, config, reference=CUSTOM)
    assert result.verdict.equivalent, result.finding
    assert not any(t.reference_fault for t in (*result.free, *result.gradients))


def test_a_model_that_cannot_be_built_is_the_users_to_put_right():
    config = ModelConfig(**vars(SMALL) | {"positions": Positions.rotary})
    with pytest.raises(UserError, match="rotary"):
        run(CUSTOM, config=config)


class OnlyTrains(MultiHeadAttention):
    def forward(self, *args, **kwargs):
        if not torch.is_grad_enabled():
            raise NotImplementedError("no inference")
        return super().forward(*args, **kwargs)


def test_a_candidate_that_raises_without_gradients_is_different():
    result = run(Implementation("only trains", OnlyTrains))
    assert result.verdict is Verdict.different
    assert "raised NotImplementedError: no inference" in result.finding
