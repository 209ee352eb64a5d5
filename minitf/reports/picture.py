"""Writing a matplotlib figure: what can be refused is refused before the work."""

import functools
import warnings
from pathlib import Path
from typing import Any

from minitf.config.errors import UserError

_FURTHER_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR", "Source Han Sans",
    "WenQuanYi Zen Hei", "Hiragino Sans", "PingFang SC", "Apple SD Gothic Neo", "Microsoft YaHei",
    "Yu Gothic", "Malgun Gothic", "Arial Unicode MS", "Noto Emoji", "Segoe UI Emoji", "Symbola",
)  # fmt: skip


def check_picture(file: str | Path) -> None:
    """Refuse a file that no picture can be written to.

    Raises:
        UserError: its directory does not exist, or its ending names no kind of picture.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    path = Path(file)
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in known:
        endings = ", .".join(sorted(known))
        raise UserError(f"{file} cannot be written: a picture's name ends in one of .{endings}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        kind = "it is a directory" if path.is_dir() else f"there is no {path.parent}"
        raise UserError(f"{file} cannot be written: {kind}")


def save_picture(figure: Any, file: str | Path, dpi: int) -> str | None:
    """Write a figure.

    Returns:
        What its reader has to know: that no font has some of the characters.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        figure.savefig(file, dpi=dpi)
    if any("missing from font" in str(warning.message) for warning in caught):
        return (
            f"{file}: no installed font has some of the characters, they are boxes; "
            "install one, such as Noto Sans CJK"
        )
    return None


@functools.cache
def font_families() -> list[str]:
    """The font that matplotlib brings, then those installed that have what it lacks."""
    from matplotlib.font_manager import get_font_names

    installed = set(get_font_names())
    return ["DejaVu Sans", *(name for name in _FURTHER_FONTS if name in installed)]
