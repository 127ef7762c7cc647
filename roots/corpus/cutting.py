r"""Long texts in parts whose encodings, one after another, are the encoding of the whole.

The cut is after a line end that has a visible character on both sides (`x\n` | `y`). Why it is
safe, and for which tokenizers, is told at `roots.tokenizer.Tokenizer.cuts_at_lines`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

PART_CHARACTERS = 2**17
_CUT = re.compile(r"\S\n(?=\S)")


def parts(text: str, size: int = PART_CHARACTERS) -> Iterator[str]:
    """Cuts `text` at the first safe place after every `size` characters.

    Args:
        text: Any text; where it has no safe place it stays whole.
        size: Characters of a part, at least.
    """
    start = 0
    while cut := _CUT.search(text, start + size):
        yield text[start : cut.end()]
        start = cut.end()
    yield text[start:] if start else text
