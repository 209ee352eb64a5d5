"""A configuration becomes the model it describes; a wrong one is answered in one line."""

import functools
import sys
import textwrap

import pytest
import torch
from torch import nn

from minitf.attention import MultiHeadAttention
from minitf.config.errors import UserError
from minitf.config.schema import ModelConfig, Norm, Positions
from minitf.evaluation.build import (
    attention_factory,
    build_model,
    other_attention,
    stored_attention,
)

TINY = ModelConfig(embed_dim=12, num_heads=3, feedforward_dim=20, num_encoder_layers=1)


def test_custom_is_the_default():
    assert attention_factory({}) is MultiHeadAttention
    assert attention_factory("custom") is MultiHeadAttention
    assert attention_factory("torch") is nn.MultiheadAttention


def test_options_reach_the_class():
    factory = attention_factory(
        {"_target_": "minitf.attention.MultiHeadAttention", "kernel": "math"}
    )
    assert factory(6, 2).kernel == "math"


def test_an_option_at_the_custom_default_is_dropped_for_a_class_without_it():
    config = {"_target_": "torch.nn.MultiheadAttention", "kernel": "auto"}
    assert isinstance(attention_factory(config)(6, 2), nn.MultiheadAttention)


def test_the_model_is_built_as_configured():
    config = ModelConfig(
        embed_dim=12,
        num_heads=3,
        feedforward_dim=20,
        num_encoder_layers=2,
        num_decoder_layers=1,
        norm=Norm.post,
        positions=Positions.learned,
        max_length=17,
    )
    model = build_model(config, "torch", 31, pad_id=0)
    assert len(model.encoder.layers) == 2
    assert len(model.decoder.layers) == 1
    assert model.encoder.norm is None
    assert model.src_positions.weight.shape == (17, 12)
    assert isinstance(model.encoder.layers[0].self_attn, nn.MultiheadAttention)
    assert model(torch.tensor([[4, 2]]), torch.tensor([[1, 5, 6]])).shape == (1, 3, 31)


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        ("tourch", "did you mean torch"),
        ("torch.nn.MultiHeadAttention", "did you mean MultiheadAttention"),
        ("no_such_package.Attention", "cannot import no_such_package.*No module named"),
        ("torch.nn.functional", "must be a class, but it is of type module"),
        (
            {"_target_": "torch", "kernel": "math"},
            "attention.kernel=math: torch takes no such option",
        ),
        ({"_target_": "custom", "kernal": "math"}, "did you mean kernel"),
        ({"_target_": "custom", "dropout": 0.1}, "use model.attention_dropout"),
        ({"_target_": "builtins.dict"}, "attention=builtins.dict is no attention class"),
        ({"_target_": "custom", "kernel": "magic"}, "magic"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(attention, message):
    with pytest.raises(UserError, match=message) as caught:
        build_model(TINY, attention, 31, pad_id=0)
    assert "\n" not in str(caught.value)


def test_a_model_option_out_of_range_is_a_user_error():
    with pytest.raises(UserError, match="embed_dim"):
        build_model(ModelConfig(embed_dim=13, num_heads=3), "custom", 31, pad_id=0)


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    def write(body: str) -> str:
        name = f"user_attention_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(body))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return write


def test_a_users_class_is_built_with_its_own_options(user_module):
    name = user_module(
        """
        from torch import nn
        class Mine(nn.MultiheadAttention):
            def __init__(self, embed_dim, num_heads, *, sharpness=1.0, **options):
                super().__init__(embed_dim, num_heads, **options)
                self.sharpness = sharpness
        """
    )
    model = build_model(TINY, {"_target_": f"{name}.Mine", "sharpness": 2.5}, 31, pad_id=0)
    assert model.encoder.layers[0].self_attn.sharpness == 2.5


def test_an_error_inside_a_users_module_is_shown(user_module):
    name = user_module("raise RuntimeError('out of\\ncheese')")
    with pytest.raises(UserError, match="RuntimeError: out of cheese"):
        attention_factory(f"{name}.Mine")


def test_a_stored_config_runs_no_foreign_code(user_module):
    name = user_module("import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()")
    with pytest.raises(UserError, match=f"name it yourself, with --attention {name}.Mine"):
        stored_attention({"_target_": f"{name}.Mine"})
    assert name not in sys.modules


@pytest.mark.parametrize("target", ["torch.nn.init.zeros_", "torch.nn.functional.relu"])
def test_a_stored_config_calls_no_function(target):
    with pytest.raises(UserError, match="no attention class"):
        stored_attention({"_target_": target})


def test_a_stored_config_of_our_own_is_built():
    assert stored_attention({}) is MultiHeadAttention
    assert stored_attention({"_target_": "torch.nn.MultiheadAttention"}) is nn.MultiheadAttention
    assert stored_attention({"_target_": "torch"}) is nn.MultiheadAttention  # by its short name


def test_a_class_that_is_constructed_otherwise_is_named():
    with pytest.raises(UserError, match=r"torch\.nn\.Linear is not constructed as torch\.nn\.Mul"):
        attention_factory("torch.nn.Linear")


def test_an_option_that_a_class_hands_on_in_vain_is_a_user_error():
    class Own(MultiHeadAttention):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)

    def own(*args, **kwargs):
        return Own(*args, slope=4, **kwargs)

    with pytest.raises(UserError, match=r"attention\.slope: .*own takes no such opt"):
        build_model(ModelConfig(), own, vocab_size=31, pad_id=0)


@pytest.mark.parametrize("choice", ["torch", {"_target_": "torch"}, nn.MultiheadAttention])
def test_options_that_only_a_users_class_knew_are_left_out_with_a_warning(choice):
    stored = {"_target_": "my.ALiBi", "slope": 4, "add_zero_attn": True, "kernel": "math"}
    with pytest.warns(UserWarning, match=r"attention\.slope=4, with which .* is left out: "):
        config, build = other_attention(stored, choice)
    assert set(config) == {"_target_", "add_zero_attn"}
    assert build(8, 2).add_zero_attn


def test_a_class_that_hands_options_on_gets_those_of_the_classes_above_it():
    class Temperature(MultiHeadAttention):
        def __init__(self, *args, start=1.0, **kwargs):
            super().__init__(*args, **kwargs)

    stored = {"_target_": "my.Window", "window": 2, "add_zero_attn": True, "start": 3.0}
    with pytest.warns(UserWarning, match=r"attention\.window=2, with which .* is left out: "):
        _, build = other_attention(stored, Temperature)
    assert build(8, 2).add_zero_attn
    build = functools.partial(Temperature, strat=2.0)
    with pytest.raises(UserError, match=r"strat: .*Temperature takes no such.*mean start"):
        build_model(ModelConfig(), build, vocab_size=31, pad_id=0)


def test_options_of_the_custom_attention_are_not_left_out():
    with pytest.raises(UserError, match=r"attention\.rotary=4: .* takes no such option"):
        other_attention({"_target_": "minitf.attention.MultiHeadAttention", "rotary": 4}, "torch")


def test_a_class_that_hands_options_on_gets_none_that_was_not_given():
    class Window(nn.MultiheadAttention):
        def __init__(self, *args, window=4, **kwargs):
            super().__init__(*args, **kwargs)
            self.window = window

    _, build = other_attention({"_target_": "my.Window", "window": 2, "kernel": "auto"}, Window)
    assert build(8, 2, batch_first=True).window == 2


def test_what_a_partial_binds_wins_over_what_is_stored():
    class Window(nn.MultiheadAttention):
        def __init__(self, *args, window=4, **kwargs):
            super().__init__(*args, **kwargs)
            self.window = window

    stored = {"_target_": "my.Window", "window": 3}
    _, build = other_attention(stored, functools.partial(Window, window=2))
    assert build(8, 2).window == 2
    _, build = other_attention(stored, Window)
    assert build(8, 2).window == 3
    with pytest.raises(UserError, match="attention must be a name, a mapping or a class, got 3"):
        other_attention(stored, 3)


def test_a_partial_is_recorded_as_its_class_and_options():
    config, _ = other_attention(
        {"add_zero_attn": True}, functools.partial(MultiHeadAttention, kernel="math")
    )
    assert config.pop("_target_") == "minitf.attention.module.MultiHeadAttention"
    assert config == {"add_zero_attn": True, "kernel": "math"}


def test_options_alone_replace_no_class_of_the_users_own():
    """Else a kernel would bring minitf's attention in the place of another, without a word."""
    with pytest.raises(UserError, match=r"trained with attention my\.Window, .* name it yourself"):
        other_attention({"_target_": "my.Window"}, {"kernel": "math"})
    config, _ = other_attention({"_target_": "torch"}, {"kernel": "math"})
    assert config["_target_"] == "minitf.attention.MultiHeadAttention"


def test_a_class_keeps_its_own_default_kernel(user_module):
    name = user_module(
        """
        from functools import partial
        from minitf.attention import MultiHeadAttention
        class Mine(MultiHeadAttention):
            def __init__(self, *args, kernel="math", **kwargs):
                super().__init__(*args, kernel=kernel, **kwargs)
        part = partial(MultiHeadAttention, kernel="fast")
        """
    )
    for attention, kernel in (("Mine", "math"), ("part", "fast")):
        target = f"{name}.{attention}"
        assert attention_factory({"_target_": target, "kernel": "auto"})(8, 2).kernel == kernel
        assert attention_factory({"_target_": target, "kernel": "fused"})(8, 2).kernel == "fused"


def test_a_class_that_hands_options_on_builds_from_a_configuration(user_module):
    name = user_module(
        """
        from torch import nn
        class Mine(nn.MultiheadAttention):
            def __init__(self, *args, window=4, **kwargs):
                super().__init__(*args, **kwargs)
        """
    )
    build = attention_factory({"_target_": f"{name}.Mine", "window": 2, "kernel": "auto"})
    assert isinstance(build(8, 2, dropout=0.0, batch_first=True), nn.MultiheadAttention)
