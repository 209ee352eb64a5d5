import pytest
import torch

from minitf.config.errors import UserError
from minitf.equivalence.settings import LEVELS, parse


def test_defaults_compare_custom_with_torch_everywhere():
    settings = parse([])
    assert settings.reference == {"name": "torch"}
    assert settings.candidate == {"name": "custom"}
    assert settings.levels == list(LEVELS)
    assert settings.setting == "quick"
    assert settings.model.embed_dim == 128


def test_keys_are_read_as_in_training():
    settings = parse(
        ["candidate=custom", "candidate.kernel=fast", "level=model,op", "thorough", "model=tiny",
         "model.dropout=0", "steps=7", "dtype=float64", "reference._target_=a.B"]
    )  # fmt: skip
    assert settings.candidate == {"name": "custom", "kernel": "fast"}
    assert settings.reference == {"_target_": "a.B"}
    assert settings.levels == ["op", "model"]
    assert settings.model.num_encoder_layers == 4
    assert settings.model.dropout == 0.0
    assert settings.effort.steps == 7
    assert settings.effort.sentences == 64
    assert settings.dtypes("float32", "bfloat16") == [torch.float64]


def test_options_of_the_default_side_need_no_name():
    assert parse(["candidate.kernel=math"]).candidate == {"name": "custom", "kernel": "math"}


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("candidat=torch", "verify has no key 'candidat'; did you mean candidate"),
        ("level=oop", "level must be one or several of op, .*; got 'oop'; did you mean op"),
        ("model=tinny", "model must be one of .*; got 'tinny'; did you mean tiny"),
        ("model.embed_dm=3", "embed_dm.*did you mean embed_dim"),
        ("model.dropout=x", "model.dropout: Value 'x'"),
        ("dtype=float31", "dtype must be one of .*; got 'float31'; did you mean float32"),
        ("quik", "KEY=VALUE, or is one of quick, thorough; got 'quik'; did you mean quick"),
        ("seed=1.5", "seed must be a whole number, got 1.5"),
        ("steps=0", "steps must be at least 1, got 0"),
        ("level=", "level must be one or several of op, .*; got nothing"),
        ("seed=-1", "seed must be from 0 to 4294967295, got -1"),
        ("device=meta", "device must be auto, cpu or cuda; got 'meta'"),
        ("model.foo=3", "^model has no key 'foo'; there is: activation"),
        ("model.embed_dim=abc", "^model.embed_dim: Value 'abc'"),
        ("device=gpu", "device must be auto, cpu or cuda; got 'gpu'"),
        ("data=reverse", "data must be one of scenes, letters; got 'reverse'"),
        ("model={", "cannot read model={"),
    ],
)
def test_a_mistake_is_one_line_that_helps(argument, message):
    with pytest.raises(UserError, match=message) as caught:
        parse([argument])
    assert "\n" not in str(caught.value)


def test_two_settings_at_once_are_refused():
    with pytest.raises(UserError, match=r"^quick and thorough exclude each other: leave one out$"):
        parse(["quick", "level=op", "thorough"])
    assert parse(["thorough", "thorough"]).setting == "thorough"
