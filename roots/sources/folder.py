"""Folder: every source file below a folder is one document, named by its relative path."""

from __future__ import annotations

import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

from roots.errors import ConfigError, DataError
from roots.records import Document, expanded, is_folder
from roots.sources.decoding import MAX_DOCUMENT_BYTES, Decoder, check_head, open_raw, too_large
from roots.sources.finding import once, walk
from roots.sources.source import Source

_NOT_SOURCES = ("__pycache__", "node_modules", "site-packages", "build", "dist")


class Folder(Source):
    """Reads the source files below a folder; what its name begins with a dot is left out.

    Python files are decoded as their first two lines declare (PEP 263), all others as UTF-8.

    Args:
        path: The folder; `~` and `${VARIABLE}` are expanded.
        suffixes: The endings of the files to read.
        exclude: Patterns of file or folder names to leave out, at any depth.
    """

    def __init__(
        self,
        *,
        path: str,
        suffixes: tuple[str, ...] = (".py",),
        exclude: tuple[str, ...] = _NOT_SOURCES,
    ) -> None:
        self.path = path
        self.suffixes = suffixes
        self.exclude = exclude

    def files(self) -> list[Path]:
        """Lists the source files below the folder."""
        root = self._root()
        if not is_folder(root):
            raise DataError(
                f"{self.path} is not a folder (looked for {root.absolute()}). Correct path,"
                " or run the command from the folder that it is relative to."
            )
        found = once(walk(root, self.suffixes, self.exclude))
        if not found:
            raise DataError(
                f"The folder {root} holds no file that ends in {', '.join(self.suffixes)}, without"
                f" what exclude={list(self.exclude)} leaves out. Correct suffixes, exclude or path."
            )
        return found

    def documents(self) -> Iterator[Document]:
        """Streams one document per file."""
        self.n_replaced = 0
        root = self._root()
        for path in self.files():
            text = self._read(path)
            yield Document(text=text, id=path.relative_to(root).as_posix())

    def _root(self) -> Path:
        return Path(expanded(self.path))

    def _read(self, path: Path) -> str:
        n_bytes = path.stat().st_size
        if n_bytes > MAX_DOCUMENT_BYTES:
            raise too_large(path, n_bytes, f"Add '{path.name}' to exclude.")
        with open_raw(path) as file:
            raw = file.read()
        encoding = _declared(raw) if path.suffix.lower() == ".py" else "utf-8"
        check_head(path, encoding)
        decoder = Decoder(encoding=encoding)
        text = decoder.decode(raw, path)
        self.n_replaced += decoder.n_replaced
        return text


def _declared(raw: bytes) -> str:
    """Reads the encoding that a Python file declares; UTF-8 where it declares nonsense."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(raw).readline)
        Decoder(encoding=encoding)
    except (SyntaxError, ConfigError):
        return "utf-8"
    return encoding
