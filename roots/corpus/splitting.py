"""Which split a document belongs to: a pure function of its text, so copies stay together."""

from __future__ import annotations

from hashlib import blake2b


def fraction_of(raw: bytes, seed: int, purpose: str) -> float:
    """Maps a text to a number in [0, 1), evenly, and independently for each seed and purpose.

    Args:
        raw: The text in UTF-8.
        seed: Another seed gives other numbers.
        purpose: What the number is for; short.
    """
    digest = blake2b(raw, digest_size=8, key=f"{purpose} {seed}".encode())
    return (int.from_bytes(digest.digest(), "little") >> 11) / 2**53


def split_of(raw: bytes, *, val_fraction: float, test_fraction: float, seed: int) -> str:
    """Names the split of a text.

    A larger `val_fraction` only moves documents from train to val; test stays what it is.

    Args:
        raw: The text in UTF-8.
        val_fraction: Share of the documents for `val`, 0 to 1.
        test_fraction: Share of the documents for `test`, 0 to 1.
        seed: Another seed gives another division.
    """
    fraction = fraction_of(raw, seed, "split")
    if fraction < test_fraction:
        return "test"
    return "val" if fraction < test_fraction + val_fraction else "train"
