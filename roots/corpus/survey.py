"""The first pass over the documents: counts, splits and fingerprint.

It costs a hundredth of the encoding, and everything that is wrong with the input shows in it.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from roots.corpus.books import EMPTY, READ, Books
from roots.corpus.progress import Progress
from roots.corpus.splitting import fraction_of
from roots.errors import DataError
from roots.records import KEEP, Document, Reject
from roots.sources import Source

N_DRAWN = 64
DRAWN_CHARACTERS = 2**14
_ABOUT = b"\xff" * 8  # no text is so long


class Fingerprint:
    """The sha256 over all texts in order, each behind its length; no path or time is in it.

    Behind a text stands its metadata, if it has any: stages may look at them, and the card does.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def read(self, document: Document, raw: bytes) -> None:
        """Takes in a document, with its text in UTF-8."""
        self._sha256.update(len(raw).to_bytes(8, "little"))
        self._sha256.update(raw)
        if document.metadata:
            about = json.dumps(dict(document.metadata), skipkeys=True, default=_kind)
            self._sha256.update(_ABOUT + len(about).to_bytes(8, "little") + about.encode())

    def hexdigest(self) -> str:
        """Tells the sum."""
        return self._sha256.hexdigest()


@dataclass
class Survey:
    """What came in, and where it goes.

    Args:
        documents: Kept documents by split.
        n_bytes: Their UTF-8 bytes by split.
        dropped: Documents left out, by reason.
        places_replaced: Undecodable places that became U+FFFD.
        books: What came in, by source.
        drawn: Beginnings of a few documents, drawn by their texts: a heap, the greatest draw first.
    """

    documents: Counter[str] = field(default_factory=Counter)
    n_bytes: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    places_replaced: int = 0
    books: Books = field(default_factory=lambda: Books([READ]))
    drawn: list[tuple[float, str]] = field(default_factory=list)
    _fingerprint: Fingerprint = field(default_factory=Fingerprint)

    @property
    def n_read(self) -> int:
        """Documents that came in."""
        return self.documents.total() + self.dropped.total()

    @property
    def fingerprint(self) -> str:
        """The sha256 over all texts and their metadata."""
        return self._fingerprint.hexdigest()

    def read(self, document: Document, raw: bytes) -> None:
        """Takes a document into the fingerprint."""
        self._fingerprint.read(document, raw)

    def keep(self, split: str, raw: bytes) -> None:
        """Counts a document of `split`."""
        self.documents[split] += 1
        self.n_bytes[split] += len(raw)

    def draw(self, text: str, raw: bytes) -> None:
        """Takes a document into the sample, if its draw is among the least."""
        drawn = (-fraction_of(raw, 0, "sample"), text[:DRAWN_CHARACTERS])
        if len(self.drawn) < N_DRAWN:
            heapq.heappush(self.drawn, drawn)
        else:
            heapq.heappushpop(self.drawn, drawn)

    @property
    def sample(self) -> list[str]:
        """The same few texts for the same documents in any order."""
        return [text for _, text in sorted(self.drawn)]


def _kind(value: object) -> str:
    """Stands for a value that JSON has not; how it is shown may change from run to run."""
    return type(value).__name__


def readable(text: str) -> str:
    r"""Writes what UTF-8 cannot as `\udce9`: bytes of file names, halves of surrogate pairs."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def drop_reason(document: Document) -> str | None:
    """Decides whether a document is left out, and why."""
    return None if document.text and not document.text.isspace() else EMPTY.reason


def documents_and_bytes(
    source: Source, on_reject: Callable[[Reject], None] | None = None
) -> Iterator[tuple[Document, bytes]]:
    """Streams the documents, each with its text in UTF-8, by names that can be written.

    Args:
        source: Where they come from.
        on_reject: Told of every record that could not become a document.

    Raises:
        DataError: A text holds half of a surrogate pair, which UTF-8 cannot write.
    """
    for document in source.records():
        if isinstance(document, Reject):
            if on_reject is not None:
                on_reject(document)
            continue
        name = readable(str(document.id))
        if name != document.id:
            document = replace(document, id=name)  # noqa: PLW2901 - only its name is another
        try:
            yield document, document.text.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"Document {document.id}: character {error.start:,} is half of a surrogate pair"
                f" (U+{ord(document.text[error.start]):04X}), which UTF-8 cannot write. Have"
                f" {type(source).__qualname__} replace it by U+FFFD."
            ) from error


def survey(
    source: Source,
    divide: Callable[[bytes], str],
    progress: Progress | None = None,
    on_reject: Callable[[Reject], None] | None = None,
) -> Survey:
    """Passes over all documents once.

    Args:
        source: Where they come from.
        divide: Names the split of a text.
        progress: Told of every document.
        on_reject: Told of every record that could not become one.
    """
    found = Survey(books=Books([READ], source=type(source).__name__))
    for document, raw in documents_and_bytes(source, on_reject):
        found.read(document, raw)
        reason = drop_reason(document)
        found.books.enter(0, document, KEEP if reason is None else EMPTY)
        if reason is None:
            found.keep(divide(raw), raw)
            found.draw(document.text, raw)
        else:
            found.dropped[reason] += 1
        if progress is not None:
            progress.add(len(raw))
    found.places_replaced = source.n_replaced
    return found
