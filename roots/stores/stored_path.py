"""StoredPath: a URL that readers use as a path, so that they need not know where a file lies."""

from __future__ import annotations

import io
import os
import re
import stat
from functools import cache, lru_cache
from pathlib import Path, PosixPath
from typing import Any, ClassVar, NoReturn

from roots.errors import ConfigError, DataError
from roots.records import is_file as is_file_here
from roots.runs import redact
from roots.stores.asking import find, look_at
from roots.stores.patience import Patience
from roots.stores.range_file import READ_BYTES, RangeFile

_URL = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]+)://(.*)", re.DOTALL)
_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]+):/")

_ASKED = re.compile("[?#]")


def is_url(name: str | os.PathLike[str]) -> bool:
    """Whether a name is a URL of something that is not on this machine's disk."""
    return isinstance(name, StoredPath) or (
        isinstance(name, str) and bool(_URL.match(name)) and not name.startswith("file://")
    )


def located(name: str | Path) -> Path:
    """Makes a path of a name: of a URL one that reads from its store, else a plain one.

    A name that begins with `~` is one in the home folder.

    Raises:
        ConfigError: A URL that cannot be taken apart at its slashes.
    """
    if isinstance(name, Path):
        return name
    if not is_url(name):
        here = name.removeprefix("file://")
        return Path(os.path.expanduser(here))  # noqa: PTH111 (a path object would lose a './')
    inside = name.partition("://")[2].rstrip("/")
    if "//" in inside or "/./" in inside or not inside:
        shown = redact(name)
        raise ConfigError(
            f"{shown} names no file that roots can find: what follows :// is"
            f" {shown.partition('://')[2].rstrip('/') or 'nothing'!r}. Write scheme://bucket/path,"
            " with single slashes."
        )
    return StoredPath(name)


def address_of(path: str | Path) -> str:
    """Gives the name by which `located` finds it: of a stored file the URL with its secrets."""
    return path.url if isinstance(path, StoredPath) else str(path)


def is_file(path: Path) -> bool:
    """Tells whether there is a file; a path too long for one is none, and raises nothing."""
    if isinstance(path, StoredPath):
        return path.is_file()
    return is_file_here(path)


class StoredPath(PosixPath):
    """A URL, as a path that can be read; what needs a file on this machine's disk is refused.

    It keeps nothing but the URL, in the form in which paths keep it (`s3:/bucket/key`), so that
    all that takes paths apart and puts them together works: `parent`, `suffix`, `/`, …. As a text,
    such as in messages, ids and manifests, it is without passwords and signatures.
    """

    patience: ClassVar[Patience] = Patience()
    """How the store is asked; of the class, which all paths that are made of a path have too."""

    def patient(self, patience: Patience) -> StoredPath:
        """Gives the same path, asked with another patience."""
        return _patient(patience)(self.url)

    @property
    def url(self) -> str:
        """The URL, with the secrets that it may hold."""
        return _SCHEME.sub(r"\1://", super().__str__())

    @property
    def name(self) -> str:
        """The last part, of a web address without what is asked behind it.

        So the endings of `https://host/a.csv.gz?sig=…` are `.csv` and `.gz`. Where that has no
        ending, as in `https://host/download?file=a.csv`, the whole is the name.
        """
        plain = _ASKED.split(self.url, maxsplit=1)[0].rpartition("/")[2]
        return plain if self.url.startswith("http") and "." in plain else super().name

    def __str__(self) -> str:
        return _shown(self.url)

    def __repr__(self) -> str:
        return f"StoredPath({str(self)!r})"

    def __hash__(self) -> int:
        return hash(self.url)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredPath) and self.url == other.url

    def __fspath__(self) -> NoReturn:
        raise DataError(
            f"{self} is in an object store, and a file on this machine's disk is needed here. Copy"
            " it, and give its local path."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self.url, self.patience)

    def as_posix(self) -> str:
        """Gives the URL without its secrets."""
        return str(self)

    def absolute(self) -> StoredPath:
        """Gives itself: a URL is relative to nothing."""
        return self

    def expanduser(self) -> StoredPath:
        """Gives itself."""
        return self

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Tells the size; the time of the last change is a number that changes with the content.

        Raises:
            FileNotFoundError: There is no such file.
        """
        del follow_symlinks
        seen = look_at(self.url, self.patience)
        if seen is None:
            raise FileNotFoundError(str(self))
        fields = (stat.S_IFREG | 0o444, 0, 0, 1, 0, 0, seen.size, 0, 0, 0)
        return os.stat_result(fields, {"st_mtime_ns": seen.mark})

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is such a file, or any below such a folder."""
        return self.is_file(follow_symlinks=follow_symlinks) or self.is_dir()

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether there is such a file."""
        del follow_symlinks
        return look_at(self.url, self.patience) is not None

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether any file is below such a folder; a web server's folders are never seen."""
        del follow_symlinks
        return not self.url.startswith("http") and bool(find(self.url, [""], self.patience))

    def open(self, mode: str = "r", buffering: int = -1, *_: Any, **__: Any) -> Any:
        """Opens the file for reading bytes; without a buffer each read is one request.

        Raises:
            DataError: It is to be written, or does not exist.
        """
        if mode != "rb":
            raise DataError(f"{self} is in an object store, which is only read. Give a local path.")
        file = RangeFile(self.url, self.patience)
        return file if buffering == 0 else io.BufferedReader(file, READ_BYTES)

    def read_bytes(self) -> bytes:
        """Reads the whole file."""
        with self.open("rb") as file:
            raw: bytes = file.read()
        return raw

    def read_text(self, encoding: str | None = None, errors: str | None = None, *_: Any) -> str:
        """Reads the whole file as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")


@cache
def _shown(url: str) -> str:
    return redact(url)


@lru_cache(maxsize=64)
def _patient(patience: Patience) -> type[StoredPath]:
    return type("StoredPath", (StoredPath,), {"patience": patience})


def _unpickled(url: str, patience: Patience) -> StoredPath:
    return StoredPath(url) if patience == StoredPath.patience else _patient(patience)(url)
