"""The data card of a folder of shards: what a person wants to know of it, as plain values."""

from __future__ import annotations

import heapq
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roots.corpus.books import Books
from roots.corpus.intake import DROPPED
from roots.corpus.tally import KEPT
from roots.shards import Manifest, ShardFolder

LARGEST_CLUSTERS = 5
_LANGUAGE = "language "
_PERSONAL = ("Pii", "PersonNames")


def data_card(path: str | Path) -> dict[str, Any]:
    """Gathers what a folder of shards and the files beside it tell.

    Folders of older versions lack `kept.json`: what only it tells is left out.

    Returns:
        `splits` and `lengths` (of documents, in tokens, by powers of two); `parts` (the books: what
        came into each stage, went on, and was dropped by reason); `sources`, `licences`, `domains`
        and `samples` of what was written; `languages`, `personal` (what was replaced, by kind),
        `clusters` of duplicates, `contamination`, `drops` (examples), `rejected`; `recipe`,
        `vocab_size` and `fingerprint`.

    Raises:
        DataError: It is no such folder, or is damaged.
    """
    folder = ShardFolder.open(path)
    manifest = folder.manifest
    books = Books.from_plain(manifest.books)
    kept = _read(folder.path / KEPT)
    parts = [_part(books, number, name) for number, name in enumerate(books.names)]
    return {
        "documents_read": manifest.documents_read,
        "documents_kept": sum(split.documents for split in manifest.splits.values()),
        "splits": {name: _split(split) for name, split in manifest.splits.items()},
        "lengths": lengths_of(folder),
        "parts": parts,
        "sources": _sources(books, kept.get("sources", {})),
        "licences": kept.get("licences", {}),
        "domains": kept.get("domains", {}),
        "samples": kept.get("samples", []),
        "languages": _languages(parts),
        "personal": _personal(parts),
        "clusters": list(_clusters(folder.path, manifest)),
        "contamination": _read(folder.path / "contamination.json"),
        "drops": list(_lines(folder.path / DROPPED)),
        "rejected": dict(manifest.records_rejected),
        "places_replaced": manifest.places_replaced,
        "vocab_size": manifest.vocab_size,
        "dtype": manifest.dtype,
        "fingerprint": folder.fingerprint,
        "roots_version": manifest.roots_version,
        "recipe": manifest.recipe,
    }


def lengths_of(folder: ShardFolder) -> dict[str, list[int]]:
    """Counts the documents of all splits by their tokens, the eos included.

    Returns:
        `edges`, powers of two, one more than there are `counts`; a document is counted from the
        edge at its left to before the one at its right.
    """
    counts: Counter[int] = Counter()
    for name in folder.splits:
        shard = folder.shard(name)
        for first in range(0, shard.n_documents, 2**20):
            starts = shard.document_starts[first : min(first + 2**20 + 1, shard.n_documents)]
            last = first + 2**20 >= shard.n_documents
            ends = np.append(starts, shard.n_tokens) if last else starts
            powers, found = np.unique(np.frexp(np.diff(ends))[1] - 1, return_counts=True)
            counts.update(dict(zip(powers.tolist(), found.tolist(), strict=True)))
    if not counts:
        return {"edges": [], "counts": []}
    powers_seen = range(min(counts), max(counts) + 1)
    edges = [2**power for power in (*powers_seen, powers_seen.stop)]
    return {"edges": edges, "counts": [counts[power] for power in powers_seen]}


def _split(split: Any) -> dict[str, Any]:
    return {
        "documents": split.documents,
        "tokens": split.tokens,
        "bytes": split.bytes,
        "bytes_per_token": _ratio(split.bytes, split.tokens),
    }


def _part(books: Books, number: int, name: str) -> dict[str, Any]:
    row = books.of(number)
    return {
        "name": name,
        "documents_in": row.documents_in,
        "documents_kept": row.documents_kept,
        "documents_edited": row.documents_edited,
        "characters_in": row.characters_in,
        "characters_kept": row.characters_kept,
        "dropped": dict(row.dropped.most_common()),
        "counted": dict(row.counted.most_common()),
    }


def _sources(books: Books, written: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, Any]]:
    """Joins what came in by source with what was written of it."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys([*books.sources, *written]):
        counts = written.get(name, {})
        tokens, n_bytes = counts.get("tokens"), counts.get("bytes")
        found[name] = {
            "documents_read": books.of(0, name).documents_in,
            "documents": counts.get("documents"),
            "bytes": n_bytes,
            "tokens": tokens,
            "bytes_per_token": _ratio(n_bytes, tokens) if tokens and n_bytes else None,
        }
    return found


def _languages(parts: list[dict[str, Any]]) -> dict[str, int]:
    """Gives documents by language: those that stayed, as the first stage that told them saw."""
    for part in parts:
        seen = {k.removeprefix(_LANGUAGE): n for k, n in part["counted"].items() if _LANGUAGE in k}
        if seen:
            return dict(sorted(seen.items(), key=lambda item: (-item[1], item[0])))
    return {}


def _personal(parts: list[dict[str, Any]]) -> dict[str, int]:
    """Gives the places that were replaced by placeholders, by kind."""
    total: Counter[str] = Counter()
    for part in parts:
        if part["name"] in _PERSONAL:
            total.update(part["counted"])
    return dict(total.most_common())


def _clusters(folder: Path, manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Counts the duplicates in each file of them, and quotes the largest clusters."""
    for name in manifest.findings:
        lines = (line for line in _lines(folder / name) if "kept" in line and "dropped" in line)
        sizes: Counter[int] = Counter()
        largest: list[tuple[int, int, str]] = []
        for number, line in enumerate(lines):
            n = len(line["dropped"])
            sizes[n] += 1
            largest = heapq.nlargest(LARGEST_CLUSTERS, [*largest, (n, -number, str(line["kept"]))])
        if sizes:
            yield {
                "file": name,
                "clusters": sizes.total(),
                "documents_dropped": sum(n * times for n, times in sizes.items()),
                "largest": [{"kept": kept, "dropped": n} for n, _, kept in largest],
            }


def _read(path: Path) -> dict[str, Any]:
    """Reads a JSON object; nothing where the file is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Streams JSON lines; those that are damaged are left out."""
    if path.suffix != ".jsonl" or not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict):
                yield found


def _ratio(n_bytes: int, tokens: int) -> float:
    return n_bytes / tokens if tokens else math.nan
