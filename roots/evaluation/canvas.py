"""How a figure of roots is begun and kept: colours, size, and a file that is whole or not there."""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path
from typing import Any

# Far enough apart in lightness to be told apart in greyscale too.
BLUE, ORANGE, GREY = "#4878a8", "#d1762c", "#8a8a8a"
COLOURS = (BLUE, ORANGE, "#9bc48f", "#a03a50", "#48366e", "#222222")
STYLES = ("-", "--", ":", "-.")


def new_figure(width: float = 8.0, height: float = 4.8) -> Any:
    """Gives an empty matplotlib figure that no window and no global state knows.

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
    return figure


def plain(axes: Any, x: str, y: str) -> None:
    """Gives axes their labels (with units), a faint grid, and no frame above and at the right."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def save_png(figure: Any, path: Path) -> Path:
    """Writes a figure under a temporary name and renames it; gives the file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")  # two processes may draw at once
    figure.savefig(temporary, format="png")
    temporary.replace(path)
    return path


def png_of(figure: Any) -> bytes:
    """Gives a figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
