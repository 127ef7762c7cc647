r"""How a text becomes words, by name.

The splitter decides what rules and comparisons mean, so it is an argument (`words`) and in the
recipe:

    whitespace   what stands between white space: `(see` and `below).` are words
    unicode      runs of letters with their marks, digits and `_`, with inner apostrophes; every
                 other visible character alone, as spaCy mostly does; Han, Kana and Thai runs are
                 not divided
    lowercase    runs of letters with their marks, digits and `_` in lower case, no punctuation;
                 each character alone in scripts that put no space between words (Han, Kana, Thai,
                 …)
    a.b.c        the function c of the module a.b, from a text to a list of words; none may be empty
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module

from roots.corpus.lowercase_words import MARK, lowercase_words
from roots.errors import ConfigError, nearest

_RUN = rf"\w++(?:{MARK}\w*+)*+"
_UNICODE = re.compile(rf"{_RUN}(?:['’]{_RUN})*+|[^\w\s]")

Splitter = Callable[[str], list[str]]
SPLITTERS: dict[str, Splitter] = {
    "whitespace": str.split,
    "unicode": _UNICODE.findall,
    "lowercase": lowercase_words,
}
_VERSIONS = {"unicode": 2, "lowercase": 2}  # before: marks were no part of words


def splitter_version(name: object) -> int:
    """Tells the version of what a splitter gives; 1 for what is none of ours."""
    return _VERSIONS.get(name, 1) if isinstance(name, str) else 1


@cache
def splitter_named(name: str) -> Splitter:
    """Finds a splitter.

    Raises:
        ConfigError: There is none of that name.
    """
    if name in SPLITTERS:
        return SPLITTERS[name]
    module, _, function = name.rpartition(".")
    try:
        splitter = getattr(import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"words='{name}' is no splitter{nearest(name, SPLITTERS)}: {error}. Take"
            f" {' or '.join(SPLITTERS)}, or name a function as package.module.function."
        ) from error
    if not callable(splitter):
        raise ConfigError(f"words='{name}' is no function. Name one that splits a text into words.")
    found: Splitter = splitter
    return found
