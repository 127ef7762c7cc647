"""The corpus of the comparison: what this Python brings as text, and near copies planted in it."""

from __future__ import annotations

import hashlib
import json
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path

ENDINGS = (".py", ".pyi", ".md", ".rst", ".txt", ".h", ".c")
SEED = 20261125


def write(path: Path, n_bytes: int, n_planted: int) -> dict[str, int]:
    """Writes documents to a JSON-lines file, in a fixed random order; gives their number and size.

    Args:
        path: The file.
        n_bytes: Real text to take, at least.
        n_planted: Near copies to make of it, from barely alike to nearly equal.
    """
    rng = random.Random(SEED)
    documents = list(_real(n_bytes))
    long_enough = [(name, text) for name, text in documents if 300 <= len(text.split()) <= 5000]
    chosen = rng.sample(long_enough, min(n_planted, len(long_enough)))
    documents += [(f"copy of {name}", _changed(text, rng)) for name, text in chosen]
    rng.shuffle(documents)
    with path.open("w", encoding="utf-8") as file:
        for name, text in documents:
            file.write(json.dumps({"id": name, "text": text}) + "\n")
    size = sum(len(text.encode()) for _, text in documents)
    return {"documents": len(documents), "bytes": size, "planted": len(chosen)}


def read(path: Path) -> list[tuple[str, str]]:
    """Reads them back: id and text."""
    with path.open(encoding="utf-8") as file:
        records = map(json.loads, file)
        return [(record["id"], record["text"]) for record in records]


def _real(n_bytes: int) -> Iterator[tuple[str, str]]:
    """Yields files of the standard library and of the installed packages, drawn by their names."""
    roots = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib")}
    found = {
        f"{root.name}/{path.relative_to(root).as_posix()}": path
        for root in roots
        for path in root.rglob("*")
        if path.suffix in ENDINGS and path.is_file()
    }
    taken = 0
    for name in sorted(found, key=lambda each: hashlib.sha256(each.encode()).digest()):
        try:
            text = found[name].read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if "\0" in text or not text.strip() or len(text) > 1_000_000:
            continue
        yield name, text
        taken += len(text.encode())
        if taken >= n_bytes:
            return


def _changed(text: str, rng: random.Random) -> str:
    """Replaces words here and there; each takes up to five shingles away and adds five."""
    pieces = text.split(" ")
    places = [i for i, piece in enumerate(pieces) if piece.strip()]
    share = rng.choice((0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.07))
    for place in rng.sample(places, max(1, round(share * len(places)))):
        pieces[place] = f"word{rng.randrange(10**9)}"
    return " ".join(pieces)
