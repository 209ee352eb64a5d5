import pytest
import torch
from torch import nn

from minitf.attention import MultiHeadAttention
from minitf.config.errors import UserError
from minitf.equivalence.implementations import resolve


def test_names_and_classes():
    assert resolve("candidate", "custom").build is MultiHeadAttention
    assert resolve("candidate", "torch").build is nn.MultiheadAttention
    side = resolve("candidate", {"_target_": "torch.nn.MultiheadAttention"})
    assert side.build is nn.MultiheadAttention
    fast = resolve("candidate", {"name": "custom", "kernel": "fast"})
    assert fast.label == "custom(kernel=fast)"
    assert fast(8, 2).kernel == "fast"
    assert fast.factory(8, 2).kernel == "fast"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("custm", "candidate must be one of custom, torch, .*got 'custm'; did you mean custom"),
        (
            {"_target_": "nowhere.Attention"},
            "candidate._target_=nowhere.Attention: cannot import nowhere .*PYTHONPATH",
        ),
        ("fast", "or candidate._target_=.*; got 'fast', a kernel: candidate.kernel=fast"),
        ({"_target_": "torch.nn.Nothing"}, "torch.nn has no 'Nothing'"),
        ({"_target_": "Attention"}, "a class's import path"),
        ({"_target_": "math.pi"}, "must be a class, but it is of type float"),
        ({"name": "custom", "kernal": "fast"}, "candidate.kernal is not an option.*mean kernel"),
        ({"name": "custom", "dropout": 0.1}, "candidate.dropout cannot be set"),
        ({"name": "custom", "rotary_base": 9.0}, "use model.positions=rotary"),
    ],
)
def test_a_mistake_is_one_line(config, message):
    with pytest.raises(UserError, match=message) as caught:
        resolve("candidate", config)
    assert "\n" not in str(caught.value)


class TakesAnything(MultiHeadAttention):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize("option", ["dropout", "batch_first", "rotary_base"])
def test_a_class_that_takes_anything_is_refused_what_verify_varies(option):
    config = {"_target_": f"{__name__}.TakesAnything", option: 1}
    with pytest.raises(UserError, match=f"^candidate.{option} cannot be set: "):
        resolve("candidate", config)
    kernel = {"_target_": f"{__name__}.TakesAnything", "kernel": "math"}
    assert resolve("candidate", kernel).options == {"kernel": "math"}


class WithoutDtype(nn.Module):
    def __init__(self, embed_dim, num_heads, dropout=0.0, batch_first=True):
        super().__init__()
        self.q_proj = nn.Linear(embed_dim, embed_dim)


class HandsOn(WithoutDtype):
    def __init__(self, *args, window=3, **kwargs):
        super().__init__(*args, **kwargs)


def test_a_class_that_hands_its_arguments_on_is_given_what_its_base_takes():
    side = resolve("candidate", {"_target_": f"{__name__}.HandsOn", "window": 2})
    module = side(16, 2, dropout=0.0, batch_first=True, dtype=torch.float64, device="cpu")
    assert module.q_proj.weight.dtype is torch.float64
    assert not side.takes("add_bias_kv")
    with pytest.raises(UserError, match=r"^candidate\.windw is not an option.*mean window"):
        resolve("candidate", {"_target_": f"{__name__}.HandsOn", "windw": 2})


def test_a_kernel_that_does_not_exist():
    with pytest.raises(UserError, match=r"^custom\(kernel=fest\) cannot be built: kernel must be"):
        resolve("candidate", {"name": "custom", "kernel": "fest"})(6, 2)
