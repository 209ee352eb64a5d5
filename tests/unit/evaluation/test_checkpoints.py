"""Weights are found, read without running code, and averaged."""

import os
import pickle

import pytest
import torch

from minitf.config.errors import UserError
from minitf.evaluation.checkpoints import average_checkpoints, find_weights, read_checkpoint


def write(path, value, step=0, epoch=0, **further):
    path.parent.mkdir(parents=True, exist_ok=True)
    weight = torch.full((2, 3), float(value))
    content = {"state_dict": {"model.a": weight, "model.b": weight + 1, "other.c": weight}}
    stored = {"tokenizer": "0123", "config": {}}
    numbers = {"global_step": step, "epoch": epoch}
    torch.save({**content, **numbers, "minitf": stored, **further}, path)
    return path


@pytest.fixture
def run_dir(tmp_path):
    directory = tmp_path / "checkpoints"
    write(directory / "best.ckpt", 10)
    write(directory / "last.ckpt", 20)
    for epoch in range(5):
        write(directory / f"epoch-{epoch:04d}.ckpt", epoch, step=100 * (epoch + 1), epoch=epoch)
    losses = [3.0, 1.0, 2.0, 1.5, 4.0]
    rows = ["epoch,step,train/loss,val/loss"]
    for epoch, loss in enumerate(losses):
        rows += [f"{epoch},{100 * epoch + 50},9.0,", f"{epoch},{100 * (epoch + 1)},,{loss}"]
    rows.append(",500,,0.5")  # the test of a run whose only test split is val
    (tmp_path / "metrics.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def chosen(run_dir, checkpoint):
    weights = find_weights(run_dir, checkpoint).tensors
    assert sorted(weights) == ["a", "b"]
    assert torch.equal(weights["b"], weights["a"] + 1)
    return weights["a"][0, 0].item()


@pytest.mark.parametrize(
    ("checkpoint", "value"),
    [
        (None, 10),
        ("best", 10),
        ("last", 20),
        ("epoch-0003.ckpt", 3),
        ("average:last:2", 3.5),
        ("average:best:2", 2.0),  # epochs 1 and 3
        ("average:best:3", 2.0),  # epochs 1, 2 and 3
        ("average:last:5", 2.0),
    ],
)
def test_each_name_chooses_its_weights(run_dir, checkpoint, value):
    assert chosen(run_dir, checkpoint) == value


def test_epochs_are_in_order_beyond_four_digits(tmp_path):
    for epoch in (9998, 9999, 10000, 10001):
        write(tmp_path / "checkpoints" / f"epoch-{epoch:04d}.ckpt", epoch)
    assert chosen(tmp_path, "average:last:2") == 10000.5


def test_the_best_validations_go_before_the_best_epochs(run_dir):
    for epoch, value in ((0, 40), (1, 50), (2, 60)):  # losses 3, 1, 2
        step = 100 * (epoch + 1)
        write(run_dir / "checkpoints" / f"best-{step:07d}.ckpt", value, step=step, epoch=epoch)
    assert chosen(run_dir, "average:best:2") == 55
    assert chosen(run_dir, "average:last:2") == 3.5
    with pytest.raises(UserError, match="has 3 best checkpoints; train with"):
        find_weights(run_dir, "average:best:4")


def test_what_training_averaged_comes_first(run_dir):
    write(run_dir / "checkpoints" / "average.ckpt", 7)
    assert chosen(run_dir, None) == 7
    assert chosen(run_dir, "average") == 7


def test_a_file_is_found_by_its_path(run_dir, tmp_path):
    assert chosen(run_dir, str(write(tmp_path / "elsewhere" / "x.ckpt", 5))) == 5


def test_averaged_weights_of_an_ema_run_are_the_models(run_dir):
    path = write(run_dir / "ema.ckpt", 3, current_model_state={"model.a": torch.zeros(2, 3)})
    assert chosen(run_dir, str(path)) == 3


@pytest.mark.parametrize("checkpoint", ["last", "average:last:2"])
def test_the_tokenizers_fingerprint_comes_along(run_dir, checkpoint):
    assert find_weights(run_dir, checkpoint).tokenizer == "0123"


def test_the_mean_is_rounded_once(tmp_path):
    generator = torch.Generator().manual_seed(5)
    values = [torch.randn(7, 11, generator=generator) for _ in range(9)]
    paths = [tmp_path / f"{i}.ckpt" for i in range(9)]
    for path, value in zip(paths, values, strict=True):
        torch.save({"state_dict": {"model.w": value}}, path)
    exact = torch.stack([v.double() for v in values]).mean(0).float()
    assert torch.equal(average_checkpoints(paths)["w"], exact)


@pytest.mark.parametrize(
    ("checkpoint", "message"),
    [
        ("bset", "there is: best.ckpt, epoch-0000.ckpt"),
        ("average", "no checkpoint at"),
        ("average:last:6", "has 5 epoch checkpoints; train with evaluation.average_last=6"),
        ("average:last:0", "takes best, last"),
        ("average:mean:2", "received 'average:mean:2'"),
    ],
)
def test_a_choice_that_is_not_there_is_answered(run_dir, checkpoint, message):
    with pytest.raises(UserError, match=message):
        find_weights(run_dir, checkpoint)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "epoch,step,val/loss\n0,100,3.0\n1,150,\n",  # no other epoch has one of its own
            "has 1 epoch checkpoints with a validation of their own; .* or choose average:last:2",
        ),
        ("epoch,val/loss\n0,1.5\n", "is torn, or not a run's"),
    ],
)
def test_metrics_that_name_no_best_are_answered(run_dir, content, message):
    (run_dir / "metrics.csv").write_text(content)
    with pytest.raises(UserError, match=message):
        find_weights(run_dir, "average:best:2")


def test_a_run_without_checkpoints_says_so(tmp_path):
    with pytest.raises(UserError, match="holds no checkpoint yet"):
        find_weights(tmp_path, None)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_half_written_checkpoint_is_named(run_dir, share):
    path = run_dir / "checkpoints" / "best.ckpt"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"best\.ckpt .* half-written") as caught:
        find_weights(run_dir, "best")
    assert "\n" not in str(caught.value)


class RunsCode:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (self.file,)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    trap = str(tmp_path / "ran")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(RunsCode(trap)))
    torch.save({"state_dict": {}, "x": RunsCode(trap)}, tmp_path / "zip.ckpt")
    for name in ("plain.ckpt", "zip.ckpt"):
        with pytest.raises(UserError):
            read_checkpoint(tmp_path / name)
    assert not os.path.exists(trap)


def test_models_of_different_shapes_have_no_average(tmp_path):
    write(tmp_path / "a.ckpt", 1)
    torch.save({"state_dict": {"model.a": torch.zeros(5)}}, tmp_path / "b.ckpt")
    with pytest.raises(UserError, match="different models"):
        average_checkpoints([tmp_path / "a.ckpt", tmp_path / "b.ckpt"])


def test_another_kind_of_file_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="holds no state_dict"):
        read_checkpoint(tmp_path / "x.ckpt")
