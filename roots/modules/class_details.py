"""What a person looks at beside a task's numbers, with its classes named and its rows quoted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST_CLASSES = 64
"""Of more classes, only the pairs that are confused most are kept."""

MOST_PAIRS = 50


def worded(
    details: Mapping[str, Any],
    names: Sequence[str],
    quoted: Callable[[int, int], Mapping[str, Any]],
) -> dict[str, Any]:
    """Names the classes and quotes the rows.

    Args:
        details: What the metrics found: `confusion`, `reliability`, `mistakes`, `numbers`, where
            they are.
        names: The classes, in the order of their numbers.
        quoted: Gives where a row stands and how it reads, by its number and that of the token.
    """
    found = dict(details)
    if "confusion" in found:
        found["confusion"] = confusion_of(found["confusion"]["counts"], names)
    if "mistakes" in found:
        found["mistakes"] = [_told(mistake, names, quoted) for mistake in found["mistakes"]]
    if "numbers" in found:
        largest = [
            {**quoted(row["sample"], 0), "label": row["label"], "predicted": row["predicted"]}
            for row in found["numbers"]["largest"]
        ]
        found["numbers"] = {**found["numbers"], "largest": largest}
    return found


def confusion_of(counts: Sequence[Sequence[int]], names: Sequence[str]) -> dict[str, Any]:
    """Gives the table of counts, or of many classes the pairs that are confused most."""
    if len(names) <= MOST_CLASSES:
        return {"names": list(names), "counts": [list(row) for row in counts]}
    wrong = [(n, r, c) for r, row in enumerate(counts) for c, n in enumerate(row) if n and r != c]
    most = sorted(wrong, key=lambda cell: (-cell[0], *cell[1:]))[:MOST_PAIRS]
    pairs = [{"label": names[r], "predicted": names[c], "rows": n} for n, r, c in most]
    return {"names": list(names), "pairs": pairs}


def _told(
    mistake: Mapping[str, Any],
    names: Sequence[str],
    quoted: Callable[[int, int], Mapping[str, Any]],
) -> dict[str, Any]:
    return {
        **quoted(mistake["sample"], mistake["place"]),
        "label": names[mistake["label"]],
        "predicted": names[mistake["predicted"]],
        "confidence": round(mistake["confidence"], 6),
    }
