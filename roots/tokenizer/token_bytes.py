"""How many bytes of text a token stands for, by its tokenizer, and which byte a sign is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_WORD_START = "\u2581"
_BYTE = re.compile("<0x[0-9A-F]{2}>")


def _bytes_of_signs() -> dict[str, int]:
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1)]
    shown += range(ord("®"), ord("ÿ") + 1)
    others = [byte for byte in range(256) if byte not in shown]
    return {chr(byte): byte for byte in shown} | {chr(256 + n): b for n, b in enumerate(others)}


BYTE_OF = _bytes_of_signs()
"""The byte for which a character stands in byte-level tokens: printable ones for themselves."""


def byte_length_of(definition: dict[str, Any]) -> Callable[[str], int]:
    """Chooses what counts the bytes that a token of this kind of tokenizer stands for.

    Args:
        definition: What a `tokenizer.json` holds.

    Returns:
        Bytes by the written form of a token.
    """
    model = definition["model"]
    kinds = _kinds(definition.get("pre_tokenizer")) | _kinds(definition.get("decoder"))
    if "ByteLevel" in kinds:
        return len  # each character of such a token is one byte in disguise
    if model.get("type") == "WordLevel" and "Metaspace" not in kinds:
        return lambda token: len(token.encode())
    if model.get("type") == "WordPiece":
        prefix = model.get("continuing_subword_prefix", "##")
        return lambda token: len(token.removeprefix(prefix).encode())
    suffix = model.get("end_of_word_suffix") or ""
    has_bytes = bool(model.get("byte_fallback"))

    def measure(token: str) -> int:
        if has_bytes and _BYTE.fullmatch(token):
            return 1
        return len(token.removesuffix(suffix).replace(_WORD_START, " ").encode())

    return measure


def _kinds(part: dict[str, Any] | None) -> set[str]:
    """Collects the types in a pre-tokenizer or decoder, those inside a Sequence too."""
    if part is None:
        return set()
    inner = part.get("pretokenizers", []) + part.get("decoders", [])
    return {part["type"]}.union(*(_kinds(each) for each in inner))
