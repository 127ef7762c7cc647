"""What counts as the same text: a normal form, and its hash."""

from __future__ import annotations

import unicodedata
from hashlib import blake2b


def normal_form(text: str, *, nfc: bool, fold_case: bool, collapse_space: bool) -> str:
    """Brings texts that count as the same to the same form.

    Args:
        text: Any text.
        nfc: Compose letters and their marks (Unicode NFC).
        fold_case: Take away the difference of case, by Unicode's case folding (`ß` becomes `ss`).
        collapse_space: Make every run of white space one space, and cut it from both ends.
    """
    if nfc and not text.isascii():
        text = unicodedata.normalize("NFC", text)
    if fold_case:
        text = text.casefold()
        if nfc and not text.isascii():  # folding may take a composed letter apart
            text = unicodedata.normalize("NFC", text)
    return " ".join(text.split()) if collapse_space else text


def digest(text: str, n_bytes: int) -> bytes:
    """Hashes a text, evenly and the same on every machine; lone surrogates are let through."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=n_bytes).digest()
