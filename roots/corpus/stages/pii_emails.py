"""Where e-mail addresses stand in a text: looked for from each `@`, of which there are few."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

Span = tuple[int, int]

_LOCAL = frozenset(string.ascii_letters + string.digits + "._%+-")
_MAX_LOCAL = 64
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}")
_NOT_AFTER = re.compile(r"[A-Za-z0-9_(\[]|-\w")
_NOBODY = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net)|example|invalid|test|localhost)$", re.I)


def emails(text: str) -> Iterator[Span]:
    """Finds e-mail addresses.

    Those of nobody stay: the domains that RFC 2606 keeps for examples, and `git@`, the user of
    source repositories. `a@np.linalg(…)` is a product of matrices.
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
    return not _NOT_AFTER.match(text, domain.end()) and not _NOBODY.search(domain.group())
