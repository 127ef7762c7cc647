"""Sentences: how many a line has; a rule of C4 counts them."""

from __future__ import annotations

import re

from roots.corpus.stages.punctuation import TERMINAL

_OTHER_SCRIPTS = re.escape("".join(sorted(TERMINAL - set(".!?"))))
_CLOSING = "[\"'”’»)\\]]*"
_END = re.compile(rf"(?:[.!?…]+(?={_CLOSING}(?:\s|$))|[{_OTHER_SCRIPTS}]+){_CLOSING}")


def sentences(text: str) -> list[str]:
    """Divides a text after what ends a sentence.

    That is a run of `.`, `!`, `?` or `…` before white space, or any run of other scripts' signs;
    quotes and brackets that close stay with their sentence. So `1.2` is inside one, but `e.g. this`
    is two; spaCy knows such abbreviations. For a limit of five in a text that rarely decides.
    """
    found, start = [], 0
    for end in _END.finditer(text):
        found.append(text[start : end.end()])
        start = end.end()
    found.append(text[start:])
    return [each for each in found if each and not each.isspace()]
