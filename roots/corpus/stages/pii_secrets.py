"""Where keys and tokens stand in a text: by the marks that their issuers give them, or by a name.

Sources of the forms: GitHub, Slack, AWS and Stripe document the prefixes of their tokens so that
scanners find them; RFC 7468 the PEM blocks; RFC 7519 the JSON web token.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator

Span = tuple[int, int]
"""Where it begins, and where it has ended."""

_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<what>[A-Z0-9 ]{0,24}PRIVATE KEY(?: BLOCK)?)-----"
    r"(?:[\s\S]{0,16384}?-----END (?P=what)-----|\s*[A-Za-z0-9+/=]{32,}(?:\s+[A-Za-z0-9+/=]{16,})*)"
)
_TOKENS = (
    ("AKIA", r"AKIA[A-Z2-7]{16}"),  # AWS: a key that stays
    ("ASIA", r"ASIA[A-Z2-7]{16}"),  # AWS: a key for a session
    ("ghp_", r"ghp_[A-Za-z0-9]{36,251}"),  # GitHub: personal, of an app, of a user, …
    ("gho_", r"gho_[A-Za-z0-9]{36,251}"),
    ("ghu_", r"ghu_[A-Za-z0-9]{36,251}"),
    ("ghs_", r"ghs_[A-Za-z0-9]{36,251}"),
    ("ghr_", r"ghr_[A-Za-z0-9]{36,251}"),
    ("github_pat_", r"github_pat_[A-Za-z0-9_]{22,251}"),
    ("glpat-", r"glpat-[A-Za-z0-9_-]{20,64}"),  # GitLab
    ("xox", r"xox[abeoprs]-[A-Za-z0-9-]{10,250}"),  # Slack
    ("hooks.slack.com/services/", r"hooks\.slack\.com/services/[A-Za-z0-9]+/[A-Za-z0-9]+/\w{20,}"),
    ("sk-", r"sk-[A-Za-z0-9_-]{0,40}[A-Za-z0-9]{20,}[A-Za-z0-9_-]*"),  # OpenAI, Anthropic
    ("k_live_", r"[sr]k_live_[A-Za-z0-9]{16,}"),  # Stripe
    ("AIza", r"AIza[A-Za-z0-9_-]{35}"),  # Google
    ("hf_", r"hf_[A-Za-z0-9]{30,}"),  # Hugging Face
    ("npm_", r"npm_[A-Za-z0-9]{36}"),
    ("eyJ", r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),  # JSON web token
)
_TOKEN_FORMS = tuple(
    (mark, re.compile(rf"(?<![A-Za-z0-9_]){form}(?![A-Za-z0-9_])")) for mark, form in _TOKENS
)
_WORDS = ("password", "passwd", "secret", "token", "api_key", "apikey", "api-key", "access_key")
_NAMES = (
    *(spelled for word in _WORDS for spelled in (word, word.upper(), word.capitalize())),
    *("apiKey", "ApiKey", "accessKey", "AccessKey"),
)
_VALUE = re.compile(
    r"""[A-Za-z0-9_-]{0,24}["']?\s{0,4}(?::=|=>|=|:)\s{0,4}["']?(?P<value>[A-Za-z0-9+/_=.~-]{16,512})"""
)
_HEX = re.compile(r"[0-9a-f]{32,}|[0-9A-F]{32,}")
_MIN_BITS = 3.5
_MIN_DIGITS = 2


def private_keys(text: str) -> Iterator[Span]:
    """Finds PEM and PGP blocks of private keys, also such that are cut short."""
    if "PRIVATE KEY" in text:
        for found in _PRIVATE_KEY.finditer(text):
            yield found.span()


def tokens(text: str) -> Iterator[Span]:
    """Finds tokens that carry their issuer's mark."""
    for mark, form in _TOKEN_FORMS:
        if mark in text:
            for found in form.finditer(text):
                yield found.span()


def secrets(text: str) -> Iterator[Span]:
    """Finds random values that are assigned to a name such as `password` or `api_key`."""
    for name in _NAMES:
        at = text.find(name)
        while at >= 0:
            end = at + len(name)
            found = _VALUE.match(text, end)
            if found and is_random(found["value"]):
                yield found.span("value")
            at = text.find(name, end)


def is_random(value: str) -> bool:
    """Guesses whether characters were drawn at random, and are no word, path or name.

    That is 32 hexadecimal digits or more, or small and capital letters with at least two digits and
    3.5 bits per character or more by their frequencies.
    """
    if _HEX.fullmatch(value):
        return _bits(value) > _MIN_BITS - 0.5  # of at most 4
    kinds = value.upper() != value and value.lower() != value
    return kinds and sum(map(str.isdigit, value)) >= _MIN_DIGITS and _bits(value) >= _MIN_BITS


def _bits(value: str) -> float:
    counts = Counter(value).values()
    return -sum(n / len(value) * math.log2(n / len(value)) for n in counts)
