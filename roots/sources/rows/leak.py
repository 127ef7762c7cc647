"""Texts that training and development share: what was learnt by heart is then counted as skill."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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


class KnownTexts:
    """The texts that are trained on: 16 bytes of hash are kept for each, and where it stands.

    Args:
        rows: The rows that are trained on.
        text_of: Gives what must not be trained on and measured on.
        name: What their split is called, for the remark.
    """

    def __init__(
        self, rows: Iterable[Row], *, text_of: Callable[[Row], str], name: str = "train"
    ) -> None:
        self.text_of = text_of
        self.name = name
        self._seen: dict[bytes, str] = {}
        for row in rows:
            self._seen.setdefault(self._digest(row), row.where)

    def shared_with(self, rows: Iterable[Row], name: str) -> Leak:
        """Counts the rows whose text is, sign for sign, one of these.

        Args:
            rows: The rows that are measured on.
            name: What their split is called.
        """
        n_rows = n_shared = 0
        examples: list[tuple[str, str]] = []
        for row in rows:
            n_rows += 1
            if (place := self._seen.get(self._digest(row))) is not None:
                n_shared += 1
                if len(examples) < _SHOWN:
                    examples.append((place, row.where))
        return Leak(
            n_shared=n_shared, n_rows=n_rows, names=(self.name, name), examples=tuple(examples)
        )

    def _digest(self, row: Row) -> bytes:
        return blake2b(self.text_of(row).encode("utf-8", "surrogatepass"), digest_size=16).digest()
