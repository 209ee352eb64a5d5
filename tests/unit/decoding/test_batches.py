"""Any number of sources: each is translated once, as it is alone, however the work is divided."""

import threading
from typing import ClassVar

import pytest
import torch

from minitf.attention import MultiHeadAttention
from minitf.config.schema import DecodingConfig
from minitf.decoding import generate_all

PAD, BOS, EOS = 0, 1, 2


@pytest.fixture
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3], indirect=True)
@pytest.mark.parametrize("batch_tokens", [1, 40, 8192])
@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_each_as_it_is_alone(make_model, decode, threads, batch_tokens, method):
    model = make_model().eval()
    generator = torch.Generator().manual_seed(11)
    lengths = [5, 0, 13, 2, 2, 7, 1, 11, 3, 3, 3]
    sources = [torch.randint(3, 17, (n,), generator=generator).tolist() for n in lengths]
    prefix = [source[:1] if i % 3 == 0 else [] for i, source in enumerate(sources)]
    options = {"method": method, "beam_size": 3, "batch_tokens": batch_tokens}
    found, groups = {}, 0
    for rows, hypotheses in generate_all(
        model, sources, pad_id=PAD, bos_id=BOS, eos_id=EOS,
        config=DecodingConfig(**options), prefix=prefix,
    ):  # fmt: skip
        groups += 1
        for row, best in zip(rows, hypotheses, strict=True):
            assert row not in found
            found[row] = best
    assert sorted(found) == [i for i, n in enumerate(lengths) if n]
    for row, best in found.items():
        alone = decode(model, torch.tensor([[*sources[row], EOS]]), [prefix[row]], **options)[0]
        assert best[0].tokens == alone[0].tokens
        assert best[0].log_prob == pytest.approx(alone[0].log_prob, abs=1e-9)
    if batch_tokens == 8192:
        assert groups == threads
    if batch_tokens == 40 and method == "greedy":  # three batches; of the last, two have half each
        assert groups == {1: 3, 2: 4, 3: 3}[threads]
    if batch_tokens == 1:
        assert groups == len(found)


@pytest.mark.parametrize("threads", [3], indirect=True)
def test_a_users_attention_is_called_by_one_thread_at_a_time(make_model, threads):
    class Own(MultiHeadAttention):  # may keep anything from one call to the next
        callers: ClassVar[set[int]] = set()

        def forward(self, *args, **kwargs):
            self.callers.add(threading.get_ident())
            return super().forward(*args, **kwargs)

    model = make_model().eval()
    for layer in model.encoder.layers:
        layer.self_attn.__class__ = Own
    sources = [[3 + i % 7] * (1 + i % 5) for i in range(31)]
    options = {"pad_id": PAD, "bos_id": BOS, "eos_id": EOS}
    options["config"] = DecodingConfig(batch_tokens=13)
    assert len(list(generate_all(model, sources, **options))) > 3
    assert Own.callers == {threading.get_ident()}


def test_nothing_is_given_nothing_comes(make_model):
    assert list(generate_all(make_model(), [[], []], pad_id=PAD, bos_id=BOS, eos_id=EOS)) == []
