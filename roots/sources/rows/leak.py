"""Texts that training and development share: what was learnt by heart is then counted as skill."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from roots.records import Row

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """How many rows of one split have a text that another split has too.

    Args:
        n_shared: Rows of the second split whose text is in the first.
        n_rows: Rows of the second split.
        names: What the two splits are called.
        examples: Up to three pairs of places, `(in the first, in the second)`.
    """

    n_shared: int
    n_rows: int
    names: tuple[str, str]
    examples: tuple[tuple[str, str], ...]

    def remark(self) -> str:
        """Warns in a sentence; says nothing when no text is shared."""
        if not self.n_shared:
            return ""
        first, second = self.names
        shown = ", ".join(f"{there} = {here}" for there, here in self.examples)
        return (
            f"{self.n_shared:,} of the {self.n_rows:,} rows of {second}"
            f" ({self.n_shared / self.n_rows:.1%}) have a text that {first} has as well ({shown}):"
            f" figures on {second} are too good by what is known by heart. Take them out of one."
        )


def shared_texts(
    first: Iterable[Row],
    second: Iterable[Row],
    *,
    fields: Sequence[str],
    names: tuple[str, str] = ("train", "dev"),
) -> Leak:
    """Counts the rows of `second` whose fields are, sign for sign, those of a row of `first`.

    16 bytes of hash are kept for each text of `first`, no texts.

    Args:
        first: The rows that are trained on.
        second: The rows that are measured on.
        fields: What makes the text of a row: one field, or both of a pair.
        names: What the two splits are called, for the remark.
    """
    seen: dict[bytes, str] = {}
    for row in first:
        seen.setdefault(_digest(row, fields), row.where)
    n_rows = n_shared = 0
    examples: list[tuple[str, str]] = []
    for row in second:
        n_rows += 1
        if (place := seen.get(_digest(row, fields))) is not None:
            n_shared += 1
            if len(examples) < _SHOWN:
                examples.append((place, row.where))
    return Leak(n_shared=n_shared, n_rows=n_rows, names=names, examples=tuple(examples))


def _digest(row: Row, fields: Sequence[str]) -> bytes:
    hasher = blake2b(digest_size=16)
    for field in fields:
        raw = str(row.fields.get(field)).encode("utf-8", "surrogatepass")
        hasher.update(len(raw).to_bytes(8, "little"))  # so that ab + c is not a + bc
        hasher.update(raw)
    return hasher.digest()
