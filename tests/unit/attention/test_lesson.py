"""The lesson's formulas stand beside the very lines that compute them."""

import re
from pathlib import Path

import minitf.attention


def test_every_line_of_code_in_the_lesson_is_in_the_code():
    room = Path(minitf.attention.__file__).parent
    code = "\n".join(f.read_text() for f in room.rglob("*.py") if f.name != "__init__.py")
    lesson, _, _ = minitf.attention.__doc__.partition("**A class of your own**")
    blocks = re.findall(r"::\n\n((?: {4}.*\n)+)", lesson)
    lines = [line for block in blocks for line in block.splitlines()]
    assert len(lines) == 9
    for line in lines:
        quoted = re.split(r" {4,}", line)[-1]
        assert quoted in code, quoted
