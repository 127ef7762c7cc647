"""Real text that every machine has: sources and documents of this Python and its packages."""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path

ENDINGS = (".py", ".pyi", ".md", ".rst", ".txt", ".h", ".c")


def real_texts(megabytes: float, without: str = "\0") -> Iterator[str]:
    """Yields texts until there are enough, in an order drawn by their names.

    Args:
        megabytes: So much text, in UTF-8, at least; less where the machine has less.
        without: Texts that hold it are left out.
    """
    roots = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib")}
    found = {
        f"{root.name}/{path.relative_to(root).as_posix()}": path
        for root in roots
        for path in root.rglob("*")
        if path.suffix in ENDINGS and path.is_file()
    }
    taken = 0
    for name in sorted(found, key=lambda each: hashlib.sha256(each.encode()).digest()):
        if taken >= megabytes * 1e6:
            return
        try:
            text = found[name].read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if text.strip() and len(text) <= 1_000_000 and "\0" not in text and without not in text:
            yield text
            taken += len(text.encode())
