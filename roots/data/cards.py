"""What is told of labelled rows on a page: how many, how long, with which labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int64

from roots.batch import IGNORE
from roots.data.ragged import Ragged
from roots.data.splits import Split

MOST_LABELS = 100
LONGEST_QUOTE = 300


def quotation(text: str) -> str:
    """Shortens a text to what one line of a table can show."""
    words = " ".join(text.split())
    return words if len(words) <= LONGEST_QUOTE else words[: LONGEST_QUOTE - 1] + "…"


def split_card(split: Split, names: Sequence[str]) -> dict[str, Any]:
    """Counts rows, tokens, lengths and labels of a split.

    Args:
        split: The rows.
        names: The classes in the order of their numbers; empty where there are none.
    """
    card: dict[str, Any] = {
        "rows": len(split),
        "tokens": int(split.lengths.sum()),
        "rows_cut": split.n_cut,
        "lengths": histogram(split.lengths),
    }
    if names:
        card["labels"] = label_counts(split, names)
        card["labelled"] = n_labelled(split)
    return card


def label_counts(split: Split, names: Sequence[str]) -> dict[str, int]:
    """Counts how often each class is a label, the most frequent of very many first."""
    labels = split.labels.values if isinstance(split.labels, Ragged) else split.labels
    if labels.ndim == 2:  # a column per label, 1 where it is there
        counts = np.nansum(labels == 1, axis=0)
    else:
        counts = np.bincount(labels[labels >= 0].astype(np.int64), minlength=len(names))
    found = {name: int(n) for name, n in zip(names, counts, strict=True)}
    if len(found) <= MOST_LABELS:
        return found
    return dict(sorted(found.items(), key=lambda item: -item[1])[:MOST_LABELS])


def n_labelled(split: Split) -> int:
    """Counts what has a label: rows, or tokens where each has its own."""
    labels = split.labels.values if isinstance(split.labels, Ragged) else split.labels
    if labels.ndim == 2:
        return int((~np.isnan(labels.astype(np.float64)) & (labels != IGNORE)).any(axis=1).sum())
    return int((labels >= 0).sum())


def histogram(lengths: Int64[np.ndarray, " R"], most: int = 24) -> dict[str, list[int]]:
    """Counts rows by their length.

    Returns:
        `edges`, whole numbers, one more than there are `counts`; a row is counted from the edge at
        its left to before the one at its right.
    """
    if not len(lengths):
        return {"edges": [0, 1], "counts": [0]}
    low, high = int(lengths.min()), int(lengths.max()) + 1
    width = max(-(-(high - low) // most), 1)
    edges = np.arange(low, high + width, width)
    counts, _ = np.histogram(lengths, edges)
    return {"edges": edges.tolist(), "counts": counts.tolist()}
