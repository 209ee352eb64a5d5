"""Caches that follow their rows."""

import torch


def _prefixes_and_state(model, src, tgt, length):
    memory, padding = model.encode(src), model.src_padding_mask(src)
    state = model.new_state()
    model.decode(tgt[:, :length], memory, padding, state)
    return memory, padding, state


@torch.no_grad()
def test_reorder_moves_rows_with_their_past_and_their_source(make_model, batch):
    model = make_model().double().eval()
    src, tgt = batch
    memory, padding, state = _prefixes_and_state(model, src, tgt, 4)
    index = torch.tensor([3, 0, 2])
    state.reorder_sources(index)
    state.reorder_targets(index)
    found = model.decode(tgt[index, 4:5], memory[index], padding[index], state)
    expected = model.decode(tgt[index, :5], memory[index], padding[index])[:, -1:]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert state.length == 5


@torch.no_grad()
def test_beams_move_within_their_sentence_and_a_stale_cache_would_show(make_model, batch):
    model = make_model().double().eval()
    src, tgt = batch[0][:2], batch[1][:4].clamp(min=3)
    memory, padding, state = _prefixes_and_state(model, src, tgt, 4)
    index = torch.tensor([1, 0, 3, 3])
    expected = model.decode(tgt[index, :5], memory, padding)[:, -1:]

    state.reorder_targets(index)
    found = model.decode(tgt[index, 4:5], memory, padding, state)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)

    *_, stale = _prefixes_and_state(model, src, tgt, 4)
    wrong = model.decode(tgt[index, 4:5], memory, padding, stale)
    assert (wrong - expected).abs().amax((1, 2))[[0, 1, 2]].min() > 1e-3


@torch.no_grad()
def test_sources_leave_apart_from_targets(make_model, batch):
    model = make_model().double().eval()
    src, tgt = batch[0][:2], batch[1][:4].clamp(min=3)
    memory, padding, state = _prefixes_and_state(model, src, tgt, 4)
    kept, rows = torch.tensor([1]), torch.tensor([3, 2])
    state.reorder_sources(kept)
    state.reorder_targets(rows)
    found = model.decode(tgt[rows, 4:5], memory[kept], padding[kept], state)
    expected = model.decode(tgt[rows, :5], memory[kept], padding[kept])[:, -1:]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
