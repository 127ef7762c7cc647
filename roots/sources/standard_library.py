"""StandardLibrary: the sources of the running Python, a corpus that every machine has."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterator
from pathlib import Path

from roots.errors import DataError
from roots.records import Document
from roots.sources.folder import Folder
from roots.sources.source import Source

_NOT_LIBRARY = (
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idle_test",
    "__pycache__",
    "encodings",  # tables of code pages: a sixth of the bytes, and nothing to learn from
    "_sysconfigdata*",  # written by the build of this very Python: paths and flags, not a source
)


class StandardLibrary(Source):
    """Reads the `.py` files of this Python's standard library, without tests and code pages.

    About 610 files, 10 MB (3.11); another Python version gives other documents.
    """

    def files(self) -> list[Path]:
        """Lists the sources of the standard library."""
        return self._folder().files()

    def documents(self) -> Iterator[Document]:
        """Streams one document per module."""
        folder = self._folder()
        for document in folder.documents():
            self.n_replaced = folder.n_replaced
            yield document

    def _folder(self) -> Folder:
        path = Path(sysconfig.get_path("stdlib"))
        if not (path / "os.py").is_file():
            raise DataError(
                f"The standard library of this Python is not on disk as sources: {path}/os.py does"
                " not exist (a zipped or embedded Python). Use a Python from python.org, uv or"
                " conda, or another text: source roots.sources.Folder or roots.sources.Text."
            )
        return Folder(path=str(path), suffixes=(".py",), exclude=_NOT_LIBRARY)
