"""EngineFolder: a folder that all tasks of a run reach, here or in an object store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import fsspec

from roots.stores import address_of, is_url, located


class EngineFolder:
    """Reads and writes files below an address; it is pickled as the address alone.

    Args:
        address: A folder (`~` is the home folder), or its URL (`s3://…`).
    """

    def __init__(self, address: str | Path) -> None:
        name = address_of(address)
        self.address = name if is_url(name) else str(located(name).absolute())

    def __str__(self) -> str:
        return self.address

    def folder(self, name: str) -> EngineFolder:
        """Names a folder in it."""
        return EngineFolder(f"{self.address}/{name}")

    def names(self, suffix: str) -> list[str]:
        """Lists the files directly in it that end so, sorted; none where it does not exist."""
        files, path = self._files()
        files.invalidate_cache(path)  # others write here, and s3fs and gcsfs remember a listing
        if not files.isdir(path):
            return []
        found = (entry.rpartition("/")[2] for entry in files.ls(path, detail=False))
        return sorted(name for name in found if name.endswith(suffix))

    def open(self, name: str, mode: str = "rb") -> IO[Any]:
        """Opens a file of it to read."""
        files, path = self._files()
        opened: IO[Any] = files.open(f"{path}/{name}", mode, **_text(mode))
        return opened

    @contextmanager
    def writing(self, name: str, mode: str = "wb") -> Iterator[IO[Any]]:
        """Opens a file to write, which has its name when all of it is written."""
        files, path = self._files()
        whole, part = f"{path}/{name}", f"{path}/{name}.part"
        files.makedirs(whole.rpartition("/")[0], exist_ok=True)
        with files.open(part, mode, **_text(mode)) as file:
            yield file
        files.mv(part, whole)

    def _files(self) -> tuple[Any, str]:
        files, path = fsspec.url_to_fs(self.address)
        return files, path.rstrip("/")


def _text(mode: str) -> dict[str, str]:
    """Says how text is written, which ids with half of a surrogate pair may be in."""
    return {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogatepass", "newline": ""}
