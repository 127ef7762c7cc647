"""The words by which documents are compared: without case and punctuation, in any script."""

from __future__ import annotations

import re
import unicodedata

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Myanmar, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Han
)
_WORD = re.compile(rf"[^\W{_UNSPACED}]+|[\w{_UNSPACED}]")
_ASCII = bytes(i if i > 127 or chr(i).isalnum() or chr(i) == "_" else 32 for i in range(256))


def lowercase_words(text: str) -> list[str]:
    """Takes the runs of letters, digits and `_`, in lower case; all else parts them.

    In scripts that put no space between words, each character is a word.
    """
    if text.isascii():
        return _parted(text.lower())
    parts = _parted(unicodedata.normalize("NFC", text).lower())
    words: list[str] = []
    done = 0
    for i in [i for i, part in enumerate(parts) if not part.isascii()]:
        words += parts[done:i]
        words += _WORD.findall(parts[i])
        done = i + 1
    return words + parts[done:]


def _parted(text: str) -> list[str]:
    """Parts a text at white space and ASCII punctuation: a third of the time of the expression."""
    raw = text.encode("utf-8", "surrogatepass").translate(_ASCII)
    return raw.decode("utf-8", "surrogatepass").split()
