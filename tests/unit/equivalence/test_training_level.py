import pytest
import torch
from plain_attention import DropsPaddingInCrossAttention, PlainAttention

from minitf.attention import MultiHeadAttention
from minitf.config.errors import UserError
from minitf.config.schema import ModelConfig
from minitf.equivalence.implementations import Implementation, resolve
from minitf.equivalence.summaries import summarize_training
from minitf.equivalence.task import letters_task
from minitf.equivalence.training_level import Curve, envelope, run_training_level
from minitf.equivalence.verdict import Verdict

CPU = torch.device("cpu")
TORCH, CUSTOM = resolve("reference", "torch"), resolve("candidate", "custom")


def run(
    candidate,
    dtype=torch.float32,
    dropout=0.1,
    seed=3,
    steps=12,
    attention_dropout=0.0,
    reference=TORCH,
):
    config = ModelConfig(
        embed_dim=22, num_heads=2, num_encoder_layers=1, num_decoder_layers=1,
        feedforward_dim=31, dropout=dropout, attention_dropout=attention_dropout,
    )  # fmt: skip
    task = letters_task(seed)
    return run_training_level(
        reference, candidate, config, task, dtype, CPU, seed, steps=steps, batch_size=5
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_custom_trains_as_torch_does_to_the_last_bit_with_dropout(dtype):
    result = run(CUSTOM, dtype)
    assert result.verdict is Verdict.bit_identical
    assert result.dropout
    assert result.parted_at is None
    assert result.same_random_state
    assert result.machine_noise == 0
    assert result.curves["candidate"].weight_distance == [0.0] * 12


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("seed", [1, 2])
def test_another_summation_order_stays_within_the_envelope(dtype, seed):
    result = run(Implementation("plain", PlainAttention), dtype, dropout=0.0, seed=seed)
    assert result.verdict is Verdict.within_rounding, result.finding
    assert result.parted_at is not None


def test_other_dropout_masks_are_judged_without_dropout():
    class DrawsOnce(PlainAttention):
        """Whatever it draws for: the dropout that follows gets other random numbers."""

        def forward(self, *args, **options):
            torch.rand(1)
            return super().forward(*args, **options)

    result = run(Implementation("draws once", DrawsOnce), dropout=0.3)
    assert result.verdict is Verdict.within_rounding, result.finding
    assert not result.dropout
    assert "loss at step 1" in result.dropout_finding
    assert any("other dropout masks" in note for note in summarize_training(result).notes)


def test_without_its_dropout_a_candidate_is_not_judged_without_dropout():
    """Nothing would be left to tell it by."""

    class Never(MultiHeadAttention):
        def __init__(self, *args, dropout=0.0, **kwargs):
            super().__init__(*args, **kwargs)

    result = run(Implementation("never", Never), attention_dropout=0.3)
    assert result.verdict is Verdict.different
    assert "attention dropout: 0 of 2720 weights dropped" in result.finding


def test_a_bug_leaves_the_envelope_at_once():
    result = run(Implementation("buggy", DropsPaddingInCrossAttention))
    assert result.verdict is Verdict.different
    assert result.outside_at == 1
    assert "step 1" in result.finding


def test_a_tiny_systematic_error_leaves_it_too():
    class Stretched(PlainAttention):
        def masked(self, *args):
            return super().masked(*args) * (1 + 1e-3)

    result = run(Implementation("stretched", Stretched), dropout=0.0)
    assert result.verdict is Verdict.different


def test_a_loss_that_is_not_a_number_is_outside():
    class Broken(PlainAttention):
        def forward(self, *args, **kwargs):
            output, weights = super().forward(*args, **kwargs)
            return output * torch.nan, weights

    assert run(Implementation("broken", Broken)).verdict is Verdict.different


class RaisesAtThird(PlainAttention):
    calls = 0

    def forward(self, *args, **options):
        self.calls += 1
        if self.calls == 3:
            raise IndexError("no\nthird")
        return super().forward(*args, **options)


@pytest.mark.parametrize("attention_dropout", [0.0, 0.3])
def test_a_candidate_that_raises_is_different(attention_dropout):
    result = run(Implementation("raises", RaisesAtThird), attention_dropout=attention_dropout)
    assert result.finding == "raised IndexError at step 3: no third"
    report = summarize_training(result)
    assert report.verdict is Verdict.different
    assert report.findings == [result.finding]
    assert not report.curves


def test_a_reference_that_raises_is_the_users_to_put_right():
    raises = Implementation("raises", RaisesAtThird)
    with pytest.raises(UserError, match=r"^the reference cannot be trained: IndexError at step 3"):
        run(CUSTOM, reference=raises)


def test_a_probe_that_raises_is_a_finding_too():
    class NeverTwice(PlainAttention):
        """Other results, and none for the sizes that the probe takes."""

        def forward(self, query, *args, **options):
            if query.shape[1] == 17:
                raise IndexError("no seventeen")
            output, weights = super().forward(query, *args, **options)
            return 2 * output, weights

    result = run(Implementation("never twice", NeverTwice), attention_dropout=0.3)
    assert result.finding.endswith("attention dropout: raised IndexError: no seventeen")


def test_the_envelope_never_shrinks_and_is_at_least_a_unit():
    flat = Curve(loss=[4.0] * 4, gradient_norm=[1.0] * 4, weight_distance=[0.0] * 4)
    moved = Curve(loss=[4.0, 4.5, 4.25, 4.0], gradient_norm=[1.0] * 4, weight_distance=[0.0] * 4)
    curves = {"reference": flat, "again": flat, "one": moved, "candidate": moved}
    allowed = envelope(curves, "loss", torch.float32)
    assert allowed == [10 * 2**-21, 5.0, 5.0, 5.0]
