"""The encoder in groups of like lengths gives what it gives in one pass."""

import pytest
import torch

from minitf.decoding import encoding

PAD, EOS = 0, 2


@pytest.mark.parametrize("positions", [1, 11, 29, 10_000])
def test_groups_change_nothing_but_padding(make_model, src, positions, monkeypatch):
    monkeypatch.setattr(encoding, "POSITIONS", positions)
    model = make_model().eval()
    passes = []
    whole = model.encode
    monkeypatch.setattr(model, "encode", lambda x: passes.append(tuple(x.shape)) or whole(x))
    with torch.no_grad():
        found = encoding.encode(model, src)
    real = src != PAD
    torch.testing.assert_close(found[real], whole(src)[real], rtol=1e-12, atol=1e-12)
    lengths = {1: [7, 6, 4, 3, 1], 11: [(1, 7), (1, 6), (2, 4), (1, 1)]}
    if positions == 1:
        assert passes == [(1, length) for length in lengths[1]]
        assert not found[~real].any()
    elif positions == 11:
        assert passes == lengths[11]
    else:
        assert sum(rows for rows, _ in passes) == len(src)
