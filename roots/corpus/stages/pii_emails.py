"""Where e-mail addresses stand in a text: looked for from each `@`, of which there are few."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterator

Span = tuple[int, int]

# Latin, Greek and Cyrillic letters with their marks: between words of these scripts stand spaces,
# while an address in a Chinese sentence begins behind one of its letters
_WIDER = "".join(
    sign
    for sign in map(chr, (*range(0xC0, 0x530), *range(0x1E00, 0x2000)))
    if unicodedata.category(sign)[0] in "LM"
)
_LETTERS = f"A-Za-z{_WIDER}"
_LOCAL = frozenset(string.ascii_letters + string.digits + "._%+-" + _WIDER)
_MAX_LOCAL = 64
_LABEL = f"[{_LETTERS}0-9](?:[{_LETTERS}0-9-]{{0,61}}[{_LETTERS}0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.){{1,8}}(?:xn--[A-Za-z0-9-]{{2,59}}|[{_LETTERS}]{{2,24}})")
_NOT_AFTER = re.compile(rf"[{_LETTERS}0-9_(\[]|-\w")
_NOBODY = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net)|example|invalid|test|localhost)$", re.I)
_FILE = re.compile(
    r"[1-9]x\.|.*\.(?:png|jpe?g|gif|svg|webp|bmp|ico|jsx?|tsx?|s?css|html?|json|ya?ml|xml|csv|txt|pdf"
    r"|tgz|tar|gz|whl|exe|dll|service|socket|timer|mount)$",
    re.I,
)


def emails(text: str) -> Iterator[Span]:
    """Finds e-mail addresses.

    Those of nobody stay: the domains that RFC 2606 keeps for examples, and `git@`, the user of
    source repositories. `a@np.linalg(…)` is a product of matrices, and `logo@2x.png` a file, as
    `getty@tty1.service` and `vue@next.js` are.
    """
    at = text.find("@")
    while at >= 0:
        found = _DOMAIN.match(text, at + 1)
        start = _local_start(text, at)
        if found and start < at and _is_somebodys(text[start:at], found, text):
            yield start, found.end()
        at = text.find("@", at + 1)


def _local_start(text: str, at: int) -> int:
    start = at
    while start > 0 and at - start <= _MAX_LOCAL and text[start - 1] in _LOCAL:
        start -= 1
    while start < at and text[start] in ".-%+":
        start += 1
    return start


def _is_somebodys(local: str, domain: re.Match[str], text: str) -> bool:
    if local == "git" or len(local) > _MAX_LOCAL or local.endswith("."):
        return False
    if _FILE.match(domain.group()) or _NOBODY.search(domain.group()):
        return False
    return not _NOT_AFTER.match(text, domain.end())
