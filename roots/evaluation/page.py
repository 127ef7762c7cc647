"""A web page in one file: words, tables and figures. It fetches nothing, so it can be mailed."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from roots.evaluation.canvas import keep_png, png_of
from roots.runs import redact, write_atomically

_STYLE = """\
:root { color-scheme: light; }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 2rem auto;
       max-width: 62rem; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.under { color: #666; margin-top: .2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums;
        overflow-wrap: normal; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #e4e4e4;
         vertical-align: top; }
td.long { overflow-wrap: anywhere; min-width: 12rem; }
th { color: #555; font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; }
figure { margin: .8rem 0; overflow-x: auto; } figure img { max-width: 100%; }
figcaption, caption { color: #666; font-size: .9rem; text-align: left; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: .85rem; }
details summary { cursor: pointer; color: #4878a8; }
@media (max-width: 40rem) { figure img { max-width: 165%; } }
"""
LONGEST_WORD, LONGEST_CELL = 20, 60
"""A cell with a longer word (a path, a fingerprint) may be broken anywhere; so may a longer one."""
_NUMBER = re.compile(r"-?[\d,]*\.?\d+(e[+-]?\d+)?")


class Page:
    """A page that is written from top to bottom, then saved.

    Every text is escaped: what a model or a data file says cannot become markup. The values of
    secret environment variables are replaced by their names before, while they still look alike.

    Args:
        title: The heading, and the name of the browser's tab.
        under: One line below it.
    """

    def __init__(self, title: str, under: str = "") -> None:
        self.title = title
        self._parts = [f"<h1>{_shown(title)}</h1>"]
        if under:
            self._parts.append(f'<p class="under">{_shown(under)}</p>')

    def heading(self, words: str) -> None:
        """Begins a section."""
        self._parts.append(f"<h2>{_shown(words)}</h2>")

    def text(self, words: str) -> None:
        """Adds a paragraph."""
        self._parts.append(f"<p>{_shown(words)}</p>")

    def table(
        self, headings: Sequence[str], rows: Iterable[Sequence[object]], caption: str = ""
    ) -> None:
        """Adds a table; numbers stand at the right, floats with four digits that count."""
        lines = [[_cell(value) for value in row] for row in rows]
        numbers = [_are_numbers(column) for column in zip(*lines, strict=True)]
        numbers = numbers or [False] * len(headings)
        head = "".join(_tagged("th", name, n) for name, n in zip(headings, numbers, strict=True))
        body = "".join(
            f"<tr>{''.join(_tagged('td', cell, number) for cell, number in line)}</tr>"
            for line in lines
        )
        above = f"<caption>{_shown(caption)}</caption>" if caption else ""
        self._parts.append(f'<div class="wide"><table>{above}<tr>{head}</tr>{body}</table></div>')

    def figure(self, figure: Any, caption: str) -> None:
        """Adds a matplotlib figure; the caption is also what a screen reader says."""
        self.picture(png_of(figure), caption)

    def kept_figure(self, figure: Any, file: Path, caption: str) -> None:
        """Adds a matplotlib figure that is also written as a PNG file."""
        self.picture(keep_png(figure, file), caption)

    def picture(self, png: bytes, caption: str) -> None:
        """Adds a PNG file; the caption is also what a screen reader says."""
        data = base64.b64encode(png).decode()
        self._parts.append(
            f'<figure><img alt="{_shown(caption)}" src="data:image/png;base64,{data}">'
            f"<figcaption>{_shown(caption)}</figcaption></figure>"
        )

    def verbatim(self, text: str, summary: str = "") -> None:
        """Adds text as it is; folded away under `summary` when one is given."""
        block = f"<pre>{_shown(text)}</pre>"
        if summary:
            block = f"<details><summary>{_shown(summary)}</summary>{block}</details>"
        self._parts.append(block)

    def html(self) -> str:
        """Gives the page."""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{_shown(self.title)}</title><style>{_STYLE}</style></head>\n<body>\n"
            + "\n".join(self._parts)
            + "\n</body></html>\n"
        )

    def save(self, path: Path) -> Path:
        """Writes the page under a temporary name and renames it; gives the file."""
        write_atomically(path, self.html())
        return path


def _shown(words: str) -> str:
    """Writes a text without secrets and without markup."""
    return escape(redact(words))


def _cell(value: object) -> tuple[str, bool]:
    if isinstance(value, bool) or value is None:
        return ("" if value is None else str(value).lower()), False
    if isinstance(value, int):
        return f"{value:,}", True
    if isinstance(value, float):
        return f"{value:.4g}", True
    return str(value), False


def _are_numbers(column: Sequence[tuple[str, bool]]) -> bool:
    """Tells whether a column stands at the right: numbers, some of them missing or written out."""
    filled = [number or bool(_NUMBER.fullmatch(text)) for text, number in column if text]
    return bool(filled) and all(filled)


def _tagged(tag: str, words: str, number: bool) -> str:
    widest = max(map(len, words.split()), default=0)
    is_long = tag == "td" and (widest > LONGEST_WORD or len(words) > LONGEST_CELL)
    kind = ' class="number"' if number else ' class="long"' if is_long else ""
    return f"<{tag}{kind}>{_shown(words)}</{tag}>"
