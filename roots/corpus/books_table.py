"""The books as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from roots.corpus.books import Books, Row

_ROW = "{:<32} {:>12} {:>12} {:>12} {:>12} {:>10}"
_SHOWN = 12


def table(books: Books) -> str:
    """Writes a line per part, below it its reasons and, where there are several, its sources."""
    lines = [_ROW.format("documents", "in", "kept", "edited", "dropped", "text kept")]
    for part, name in enumerate(books.names):
        lines += _part(books, part, name)
    return "\n".join(lines)


def _part(books: Books, part: int, name: str) -> Iterator[str]:
    total = books.of(part)
    yield _line(name, total)
    if len(books.sources) > 1:
        for source in books.sources:
            yield _line(f"  {source}", books.of(part, source))
    reasons = total.dropped.most_common()
    for reason, n in reasons[:_SHOWN]:
        yield _ROW.format(f"    {reason}", "", "", "", f"{n:,}", "").rstrip()
    if len(reasons) > _SHOWN:
        rest = sum(n for _, n in reasons[_SHOWN:])
        more = f"    {len(reasons) - _SHOWN} more reasons"
        yield _ROW.format(more, "", "", "", f"{rest:,}", "").rstrip()
    for kind, n in sorted(total.counted.items()):
        yield _ROW.format(f"    {kind}", "", "", f"{n:,}", "", "").rstrip()


def _line(name: str, row: Row) -> str:
    counts = (row.documents_in, row.documents_kept, row.documents_edited, row.dropped.total())
    share = row.characters_kept / max(row.characters_in, 1)
    return _ROW.format(name, *(f"{n:,}" for n in counts), f"{share:.1%}")
