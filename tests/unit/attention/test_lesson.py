"""The lesson's formulas stand beside the very lines that compute them."""

import linecache
import re
import sys
from pathlib import Path

import pytest
import torch

import minitf.attention
from minitf.attention import MultiHeadAttention

ROOM = str(Path(minitf.attention.__file__).parent)


def quoted_lines():
    lesson, _, _ = minitf.attention.__doc__.partition("**A class of your own**")
    blocks = re.findall(r"::\n\n((?: {4}.*\n)+)", lesson)
    return [re.split(r" {4,}", line)[-1] for block in blocks for line in block.splitlines()]


def lines_run(call):
    """The text of every line of the room that a call runs."""
    run = set()

    def trace(frame, _, __):
        if not frame.f_code.co_filename.startswith(ROOM):
            return None
        run.add(linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip())
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return run


@pytest.mark.parametrize("masked", [False, True])
def test_every_line_of_code_in_the_lesson_is_run_by_the_call_it_names(masked):
    attention = MultiHeadAttention(12, 2, batch_first=True, kernel="fast")
    x, y = torch.randn(3, 5, 12), torch.randn(3, 7, 12)
    mask = (torch.arange(7) > 4).expand(5, 7) if masked else None
    run = lines_run(lambda: attention(x, y, y, attn_mask=mask))
    lines = quoted_lines()
    assert len(lines) == 9
    others = {True: "torch.bmm(q, k.transpose(1, 2))", False: "torch.baddbmm(_per_head(mask, B, H)"}
    for line in lines:
        found = any(line in text for text in run)
        assert found != line.startswith(others[masked]), line
