"""A text in which each piece has a shade: how surprising, how likely, how important it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from roots.errors import ConfigError

DARKEST = 0.85
"""How opaque the background of the greatest value is: black letters stay legible on it."""
_COLOUR = "209, 118, 44"  # canvas.ORANGE
_PAPER = "color: #000; background: #fff;"
"""In a dark notebook too: over black the greatest would be the lightest, under light letters."""
_LINE_ENDS = str.maketrans({"\n": "⏎\n"})


class ColouredText:
    """A text whose pieces are the darker the greater their values; a notebook shows it in colour.

    A pointer over a piece tells its value. Printed, it is a line for each piece.

    Args:
        pieces: Parts of the text, in their order; white space is kept.
        values: One of each piece, 0 or more.
        unit: What the values are in: `bits`.
        most: The value that is darkest; 0 takes the greatest there is. Texts are compared with one.

    Raises:
        ConfigError: There are not as many values as pieces, or one is negative or not finite.
    """

    def __init__(
        self,
        pieces: Sequence[str],
        values: Sequence[float],
        *,
        unit: str = "",
        most: float = 0.0,
    ) -> None:
        if len(pieces) != len(values):
            raise ConfigError(
                f"{len(pieces):,} pieces have {len(values):,} values. Give one of each piece."
            )
        for value in values:
            if not 0 <= value < math.inf:
                raise ConfigError(f"A value is {value:g}. Shades need finite values of 0 or more.")
        self.pieces = list(pieces)
        self.values = list(values)
        self.unit = unit
        self.most = most or max(values, default=0.0)

    def __str__(self) -> str:
        """Lists the pieces with their values."""
        pairs = zip(self.values, self.pieces, strict=True)
        return "\n".join(f"{value:8.2f}  {piece!r}" for value, piece in pairs)

    def _repr_html_(self) -> str:
        """Gives what a notebook shows."""
        spans = map(self._span, self.pieces, self.values)
        scale = f"0 to {self.most:.3g} {self.unit}".rstrip()
        return (
            f'<div style="{_PAPER} white-space: pre-wrap; font-family: monospace;'
            ' line-height: 1.7">'
            f"{''.join(spans)}</div>"
            f'<div style="{_PAPER} font-size: small">the darker the more: {escape(scale)}</div>'
        )

    def _span(self, piece: str, value: float) -> str:
        shade = DARKEST * min(value / self.most, 1.0) if self.most else 0.0
        told = escape(f"{value:.2f} {self.unit}".rstrip())
        return (
            f'<span title="{told}" style="background: rgba({_COLOUR}, {shade:.3f})">'
            f"{escape(piece.translate(_LINE_ENDS))}</span>"
        )
