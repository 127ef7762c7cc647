"""Documents on their way into a corpus, and what is decided of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Document:
    """One text on its way into a corpus.

    Args:
        text: The text itself.
        id: Names the document within its source (`path`, or `path:line`), for messages and splits.
        metadata: What else the source knew of it; never needed to train.
        source: The part of a corpus that it belongs to, for the books; empty where there is one.
    """

    text: str
    id: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, slots=True)
class Keep:
    """The verdict that a document stays as it is.

    Args:
        counts: What was seen in it, for the books, such as its language.
    """

    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drop:
    """The verdict that a document is left out.

    Args:
        reason: The name of the rule, under which it is counted: `gopher_short_doc`.
        detail: What was found and what is allowed, for the reader: `12 < 50`.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Edit:
    """The verdict that a document goes on with another text.

    Args:
        document: What goes on.
        counts: How often which kind of change was made, for the books.
    """

    document: Document
    counts: Mapping[str, int] = field(default_factory=dict)


Verdict = Keep | Drop | Edit
KEEP = Keep()


@dataclass(frozen=True, slots=True)
class Reject:
    """A record of a source that could not become a document.

    Args:
        id: Where it is (`path:line`).
        reason: The kind of trouble, under which it is counted: `not_json`.
        cause: What is wrong and how to mend it, in a sentence. It quotes no part of the record:
            what is cut in half cannot be taken out.
        raw: The record itself, or its beginning.
        source: The part of a corpus that it belongs to, as in `Document`.
    """

    id: str
    reason: str
    cause: str
    raw: bytes = b""
    source: str = ""
