"""How a figure of roots is begun and kept: colours, size, and a file that is whole or not there."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

# COLOURS are 9 of 100 or more apart in lightness (L*), to be told apart in greyscale too. GREY is
# as light as ORANGE: where the two meet, one of them is dashed, dotted, thin, hatched or a cross.
BLUE, ORANGE, GREY = "#4878a8", "#d1762c", "#8a8a8a"
COLOURS = (BLUE, ORANGE, "#9bc48f", "#a03a50", "#48366e", "#222222")
STYLES = ("-", "--", ":", "-.")
HATCHES = ("", "////", "....")
LONGEST_LABEL = 22


def new_figure(width: float = 8.0, height: float = 4.8) -> Any:
    """Gives an empty matplotlib figure that no window and no global state knows.

    A notebook shows it where it is the value of a cell, or is given to `display`.

    Args:
        width: In inches, at 120 points each.
        height: In inches.
    """
    # matplotlib keeps a cache of fonts, for which some machines have no home directory
    os.environ.setdefault("MPLCONFIGDIR", tempfile.gettempdir())
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    figure._repr_png_ = partial(png_of, figure)  # type: ignore[attr-defined]
    return figure


def plain(axes: Any, x: str, y: str) -> None:
    """Gives axes their labels (with units), a faint grid, and no frame above and at the right."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def whole_numbers(axis: Any) -> None:
    """Writes an axis that counts in whole numbers, with none said twice where they are few."""
    axis.get_major_locator().set_params(integer=True)
    axis.set_major_formatter("{x:,.0f}")


def plain_bars(axes: Any, names: Sequence[str], x: str) -> None:
    """Gives axes of horizontal bars their names, the first on top, and a grid of upright lines."""
    plain(axes, x, "")
    axes.grid(False, axis="y")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0)
    axes.margins(y=0.5 / max(len(names), 1) * 0.2)
    axes.invert_yaxis()


def labels_of(names: Sequence[str], *, longest: int = LONGEST_LABEL) -> list[str]:
    """Makes names that a figure can show: short, on one line, of letters that its font has.

    A name that cannot be drawn (Chinese, an emoji) becomes `#` and its number in `names`.
    """
    return [_label(" ".join(name.split()), number, longest) for number, name in enumerate(names)]


def undrawn(names: Sequence[str]) -> str:
    """Ends a caption with the names that `labels_of` had to replace: `. #0 体育, #3 财经`."""
    pairs = zip(labels_of(names), names, strict=True)
    told = ", ".join(f"{label} {name}" for label, name in pairs if label.startswith("#"))
    return f". {told}" if told else ""


def _label(name: str, number: int, longest: int) -> str:
    if not name or name.startswith("#") or not all(ord(letter) in _letters() for letter in name):
        return f"#{number}"
    if len(name) > longest:
        name = name[: longest - 1] + "…"
    return name.replace("$", r"\$")  # between two of them stands a formula


@cache
def _letters() -> frozenset[int]:
    from matplotlib.font_manager import findfont, get_font

    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def save_png(figure: Any, path: Path) -> Path:
    """Writes a figure under a temporary name and renames it; gives the file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # two processes may draw at once
    try:
        figure.savefig(temporary, format="png")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def keep_png(figure: Any, path: Path) -> bytes:
    """Writes a figure as `save_png` does, and gives the bytes, so that it is drawn only once."""
    return save_png(figure, path).read_bytes()


def png_of(figure: Any) -> bytes:
    """Gives a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
