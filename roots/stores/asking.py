"""Every question to a store: what there is, how big it is, and ranges of its bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from roots.errors import ConfigError, DataError, MissingExtra
from roots.runs import redact
from roots.stores.patience import Patience, WrongBytesError, is_missing

_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs"}
_MARKS = ("ETag", "etag", "md5Hash", "Content-MD5", "crc32c", "sha256", "blob_id")
_TIMES = (
    "LastModified",
    "Last-Modified",
    "last_modified",
    "mtime",
    "modified",
    "updated",
    "created",
)


class Seen(NamedTuple):
    """What a store says of a file.

    Args:
        size: Its bytes.
        mark: A number that changes when its content does, as far as the store tells.
    """

    size: int
    mark: int


def look_at(url: str, patience: Patience) -> Seen | None:
    """Asks for the size of a file; None where there is none of that name.

    Raises:
        DataError: The store does not answer, does not let us, or does not tell the size.
        MissingExtra: The package that reaches the store is not installed.
    """
    info = patience.ask(url, "its size", lambda: _info(url, patience))
    if info is None or info.get("type") == "directory":
        return None
    if info.get("size") is None:
        raise DataError(
            f"{redact(url)}: the server does not tell the size of the file, so it cannot be read in"
            " parts. Copy it to this machine and give its local path."
        )
    return Seen(int(info["size"]), _mark(info))


def fetch(
    url: str,
    start: int,
    stop: int,
    patience: Patience,
    check: Callable[[bytes], str] = lambda _: "",
) -> bytes:
    """Reads the bytes from `start` to before `stop` of a file.

    Args:
        url: The file.
        start: First byte.
        stop: One past the last byte.
        patience: How often it is tried.
        check: Says what is wrong with what arrived; nothing where it is right.

    Raises:
        DataError: They could not be read, or are wrong each time.
        MissingExtra: The package that reaches the store is not installed.
    """

    def question() -> bytes:
        store, path = _store(url)
        raw: bytes = store.cat_file(path, start=start, end=stop, **_options(store, patience))
        if len(raw) > stop - start:
            raise DataError(
                f"{redact(url)}: the server sent {len(raw):,} bytes where {stop - start:,} were"
                " asked for, so it does not serve parts of files. Use one that answers range"
                " requests, or copy the files to this machine and give their local path."
            )
        if len(raw) < stop - start:
            raise WrongBytesError(f"{len(raw):,} bytes arrived of {stop - start:,}")
        if wrong := check(raw):
            raise WrongBytesError(wrong)
        return raw

    return patience.ask(url, f"bytes {start:,} to {stop:,}", question)


def find(url: str, suffixes: Sequence[str], patience: Patience) -> list[str]:
    """Lists the files below a folder whose names end in one of `suffixes`; no hidden ones."""
    found = _listed(url, url, patience, lambda store, path: store.find(path))
    endings = tuple(suffix.lower() for suffix in suffixes)
    return [name for name in found if name.lower().endswith(endings)]


def matching(pattern: str, patience: Patience) -> list[str]:
    """Lists the files that a glob matches; no hidden ones."""
    folder = re.split(r"[*?\[]", pattern, maxsplit=1)[0].rpartition("/")[0]

    def files(store: Any, path: str) -> list[str]:
        infos = store.glob(path, detail=True)
        return [name for name, info in infos.items() if info["type"] != "directory"]

    return _listed(pattern, folder, patience, files)


def _listed(
    url: str, folder: str, patience: Patience, ask: Callable[[Any, str], list[str]]
) -> list[str]:
    def question() -> list[str]:
        store, path = _store(url)
        store.invalidate_cache()
        try:
            found = ask(store, path)
        except FileNotFoundError as error:
            if is_missing(error):
                return []
            raise
        urls = sorted(_url_of(name, folder, store) for name in found)
        return [name for name in urls if not _hidden(name, folder)]

    return patience.ask(url, "its list of files", question)


def _url_of(name: str, folder: str, store: Any) -> str:
    """Makes a URL of a name in a store, which has no scheme and may have no host.

    What it has below the folder follows the folder as it was asked for. Over HTTP names are URLs.
    """
    if "://" in name:
        return name
    inside, above = name.strip("/"), store._strip_protocol(folder).strip("/")
    if f"{inside}/".startswith(f"{above}/".lstrip("/")):
        return f"{folder.rstrip('/')}/{inside.removeprefix(above).lstrip('/')}"
    return f"{folder.partition(':/')[0]}://{inside}"


def _hidden(name: str, folder: str) -> bool:
    parts = name.removeprefix(folder).strip("/").split("/")
    return any(part.startswith(".") for part in parts)


def _info(url: str, patience: Patience) -> dict[str, Any] | None:
    store, path = _store(url)
    store.invalidate_cache()
    timeout = {"timeout": patience.timeout_seconds} if store.async_impl else {}
    try:
        info: dict[str, Any] = store.info(path, **timeout)
    except FileNotFoundError as error:
        if is_missing(error):
            return None
        raise
    return info


def _mark(info: dict[str, Any]) -> int:
    """Makes a number of the first of a sum, a version or a time that the store tells."""
    told = next((str(info[name]) for name in _MARKS if info.get(name)), "")
    if not told:
        time = next((info[name] for name in _TIMES if info.get(name)), "")
        told = time.isoformat() if isinstance(time, datetime) else str(time)
    return int.from_bytes(hashlib.blake2b(told.encode(), digest_size=7).digest())


def _options(store: Any, patience: Patience) -> dict[str, Any]:
    """Gives what this kind of store needs so that just the asked bytes are read, in time."""
    from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped,unused-ignore]

    if store.async_impl:
        return {"timeout": patience.timeout_seconds}
    by_opening = type(store).cat_file is AbstractFileSystem.cat_file
    return {"cache_type": "none"} if by_opening else {}


def _store(url: str) -> tuple[Any, str]:
    """Finds the store of a URL, made once per process, and the name of the file in it."""
    from fsspec.core import url_to_fs  # type: ignore[import-untyped,unused-ignore]

    scheme = url.partition("://")[0]
    try:
        store, path = url_to_fs(url)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        cure = (
            f"pip install 'roots-lm[{extra}]' (pip install -e '.[{extra}]' in a clone)"
            if extra
            else f"the package that fsspec names: {error}"
        )
        raise MissingExtra(
            f"{redact(url)} needs a package that reaches {scheme}:// stores, which is not"
            f" installed. Install it: {cure}; or copy the files to this machine and give their"
            " local path."
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{redact(url)}: {error}. Write s3://, gs://, hf://, https:// or another that fsspec"
            " knows, or a local path."
        ) from error
    return store, path
