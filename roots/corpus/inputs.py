"""Which files and code of others a folder of shards was made from, and whether they changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

INPUTS = "inputs.json"

FileState = tuple[str, int, int]
"""Path, size in bytes, time of the last change in nanoseconds."""


def states(files: Sequence[Path]) -> list[FileState]:
    """Looks at the files without opening them."""
    looked_at = [(path, path.stat()) for path in files]
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in looked_at]


def with_files(fingerprint: str, files: Sequence[Path]) -> str:
    """Adds the content of further files to the fingerprint of the documents; none leave it."""
    if not files:
        return fingerprint
    sha256 = hashlib.sha256(fingerprint.encode())
    for path in files:
        with path.open("rb") as file:
            sha256.update(hashlib.file_digest(file, "sha256").digest())
    return sha256.hexdigest()


def remember(folder: Path, found: Sequence[FileState], code: Mapping[str, str]) -> None:
    """Writes the states, and the sums of modules, beside the shards, whole or not at all."""
    temporary = folder / f"{INPUTS}.tmp"
    content = {"files": list(found)} | ({"code": dict(code)} if code else {})
    temporary.write_text(json.dumps(content, indent=0) + "\n", encoding="utf-8")
    temporary.replace(folder / INPUTS)


def remember_if_writable(folder: Path, found: Sequence[FileState], code: Mapping[str, str]) -> None:
    """Writes the same, or leaves it on a read-only disk."""
    with suppress(OSError):
        remember(folder, found, code)


def changed_code(folder: Path, code: Mapping[str, str]) -> list[str]:
    """Names the modules whose sums are others than when the folder was made, if that is known."""
    try:
        before = json.loads((folder / INPUTS).read_text(encoding="utf-8")).get("code", {})
        return [name for name in code if before.get(name, code[name]) != code[name]]
    except (OSError, ValueError, AttributeError):
        return []


def remembered(folder: Path) -> list[FileState] | None:
    """Reads the states that the folder was made from; None when they are not known."""
    try:
        content = json.loads((folder / INPUTS).read_text(encoding="utf-8"))
        return [(str(path), int(size), int(time)) for path, size, time in content["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
