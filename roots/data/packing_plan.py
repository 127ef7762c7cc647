"""Which documents share a row, worked out once and kept: a folder of three flat files, mapped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from roots.data.best_fit import Packed, pack_span
from roots.data.windows import TokenSpan
from roots.errors import DataError

VERSION = 1
"""Changes when the same documents are packed otherwise."""

DTYPES = {"starts": "<i8", "sizes": "<i4", "ends": "<i8"}


def plan_folder(span: TokenSpan, seq_len: int) -> Path:
    """Names the folder of a plan: in XDG_CACHE_HOME/roots or ~/.cache/roots, by what decides it.

    That is the fingerprint of the corpus, the stretch of it, and the length of a row.
    """
    name = span.shard.prefix.name
    decides = (VERSION, span.fingerprint, name, span.start, span.stop, seq_len)
    key = hashlib.sha256(repr(decides).encode()).hexdigest()[:24]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "roots" / "packing" / key


def packing_of(span: TokenSpan, seq_len: int) -> Packed:
    """Gives the packing of a stretch of tokens: from its file, or worked out in memory.

    Raises:
        DataError: The file is damaged.
    """
    folder = plan_folder(span, seq_len)
    if span.fingerprint and folder.is_dir():
        return _mapped(folder, span)
    return _joined(pack_span(span, seq_len))


def keep_packing(span: TokenSpan, seq_len: int) -> None:
    """Writes the packing of a stretch of tokens where there is none yet, whole or not at all.

    One that another process has written meanwhile stays: it is the same, and others may open it.
    On a disk that takes no file it does nothing: then each process works it out by itself.
    """
    folder = plan_folder(span, seq_len)
    if not span.fingerprint or folder.is_dir():
        return
    with suppress(OSError):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            whole = Path(temporary) / folder.name
            whole.mkdir()
            _write(whole, pack_span(span, seq_len))
            whole.rename(folder)  # refused by the system where a plan is there


def _write(folder: Path, parts: Iterable[Packed]) -> None:
    """Writes parts one behind the other: memory does not grow with the corpus."""
    files = {name: (folder / name).open("wb") for name in DTYPES}
    try:
        for part in _numbered_through(parts):
            for name, dtype in DTYPES.items():
                files[name].write(getattr(part, name).astype(dtype).tobytes())
    finally:
        for file in files.values():
            file.close()


def _joined(parts: Iterable[Packed]) -> Packed:
    found = list(_numbered_through(parts))
    empty = np.empty(0, dtype=np.int64)
    if not found:
        return Packed(empty, empty, empty)
    return Packed(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _numbered_through(parts: Iterable[Packed]) -> Iterator[Packed]:
    """Counts the pieces behind which rows end over all parts."""
    n_pieces = 0
    for part in parts:
        yield part._replace(ends=part.ends + n_pieces)
        n_pieces += len(part.starts)


def _mapped(folder: Path, span: TokenSpan) -> Packed:
    missing = [name for name in DTYPES if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"{folder} is damaged: {', '.join(missing)} of it is missing. Delete the folder: it is"
            " made again."
        )
    starts, sizes, ends = (_map(folder / name, dtype) for name, dtype in DTYPES.items())
    n_pieces = int(ends[-1]) if len(ends) else 0
    if not len(starts) == len(sizes) == n_pieces or bool(n_pieces) != bool(len(span)):
        raise DataError(
            f"{folder} is damaged: {len(starts):,} starts, {len(sizes):,} sizes and"
            f" {n_pieces:,} pieces in rows were found, which should be equal. Delete the folder:"
            " it is made again."
        )
    return Packed(starts, sizes, ends)


def _map(path: Path, dtype: str) -> np.ndarray:
    if path.stat().st_size == 0:  # which cannot be mapped
        return np.empty(0, dtype=dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))
