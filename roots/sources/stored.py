"""Which files a URL names in an object store: one, those of a folder, or those of a glob."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from roots.errors import DataError
from roots.runs import redact
from roots.stores import Patience, find, located, matching


def stored_files(url: str, suffixes: Sequence[str]) -> list[Path]:
    """Lists what a URL names.

    A page of a web server is taken for a file, except where its URL ends with a slash.

    Args:
        url: A file, a glob (`*` and `[…]`; `**` crosses folders) or a folder.
        suffixes: File endings that count inside a folder.

    Raises:
        DataError: It names nothing, or an empty file.
    """
    path = located(url)
    if not url.endswith("/") and path.is_file():
        if path.stat().st_size == 0:
            raise DataError(
                f"{path} is empty (0 bytes). Take it off the list of paths, or upload it again."
            )
        return [path]
    if "*" in url or "[" in url:
        return _some(url, matching(url, Patience()), "The glob matches no file.")
    endings = ", ".join(suffixes)
    found = find(f"{path}/", suffixes, Patience())
    return _some(url, found, f"It is no file, and no folder of files that end in {endings}.")


def _some(url: str, found: list[str], why: str) -> list[Path]:
    if not found:
        raise DataError(
            f"{redact(url)} names nothing to read. {why} Correct the URL; `**` crosses folders."
        )
    return [located(name) for name in found]
