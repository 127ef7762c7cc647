"""Which documents share a row, worked out once and kept: a folder of three flat files, mapped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from roots.data.best_fit import Packed, pack_span
from roots.data.windows import TokenSpan
from roots.errors import DataError
from roots.runs import atomic_folder
from roots.shards import ShardFolder

VERSION = 1
"""Changes when the same documents are packed otherwise."""

DTYPES = {"starts": "<i8", "sizes": "<i4", "ends": "<i8"}


def plan_folder(span: TokenSpan, seq_len: int) -> Path:
    """Names the folder of a plan: in XDG_CACHE_HOME/roots or ~/.cache/roots, by what decides it.

    That is the fingerprint of the corpus, the stretch of it, and the length of a row.
    """
    prefix = span.shard.prefix
    decides = (
        VERSION,
        ShardFolder.open(prefix.parent).fingerprint,
        prefix.name,
        span.start,
        span.stop,
        seq_len,
    )
    key = hashlib.sha256(repr(decides).encode()).hexdigest()[:24]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "roots" / "packing" / key


def packing_of(span: TokenSpan, seq_len: int) -> Packed:
    """Gives the packing of a stretch of tokens: from its file, or worked out in memory.

    Raises:
        DataError: The file is damaged.
    """
    folder = plan_folder(span, seq_len)
    if folder.is_dir():
        return _mapped(folder, span)
    return _joined(pack_span(span, seq_len))


def keep_packing(span: TokenSpan, seq_len: int) -> None:
    """Writes the packing of a stretch of tokens where there is none yet, whole or not at all.

    On a disk that takes no file it does nothing: then each process works it out by itself.
    """
    folder = plan_folder(span, seq_len)
    if folder.is_dir():
        return
    try:
        with atomic_folder(folder) as temporary:
            _write(temporary, pack_span(span, seq_len))
    except OSError:
        return


def _write(folder: Path, parts: Iterable[Packed]) -> None:
    """Writes parts one behind the other: memory does not grow with the corpus."""
    files = {name: (folder / name).open("wb") for name in DTYPES}
    n_pieces = 0
    try:
        for part in parts:
            after = part._replace(ends=part.ends + n_pieces)
            n_pieces += len(part.starts)
            for name, dtype in DTYPES.items():
                files[name].write(getattr(after, name).astype(dtype).tobytes())
    finally:
        for file in files.values():
            file.close()


def _joined(parts: Iterable[Packed]) -> Packed:
    found, n_pieces = [], 0
    for part in parts:
        found.append(part._replace(ends=part.ends + n_pieces))
        n_pieces += len(part.starts)
    empty = np.empty(0, dtype=np.int64)
    if not found:
        return Packed(empty, empty, empty)
    return Packed(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _mapped(folder: Path, span: TokenSpan) -> Packed:
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
    size = path.stat().st_size if path.is_file() else 0
    if size == 0:
        return np.empty(0, dtype=dtype)
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))
