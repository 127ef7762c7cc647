"""ShardWriter: documents in, `<prefix>.bin` and `<prefix>.idx` out, complete or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from roots.errors import DataError
from roots.shards.hashed_file import HashedFile
from roots.shards.layout import Layout, token_dtype
from roots.shards.manifest import FileRecord

_MAX_LENGTH = 2**31 - 1
_CHUNK = 2**20


class ShardWriter:
    """Writes one split. Memory does not grow with the number of documents, nor with their length.

    Use it as a context manager: the files get their names when the block ends, and neither exists
    when it ends by an exception.

    Args:
        prefix: The path without `.bin` and `.idx`.
        vocab_size: Ids are below it; it decides between uint16 and int32.
    """

    def __init__(self, prefix: str | Path, *, vocab_size: int) -> None:
        self.prefix = Path(prefix)
        self.vocab_size = vocab_size
        self.dtype = token_dtype(vocab_size)
        self.n_documents = 0
        self.n_tokens = 0
        self._length = 0
        self._parts = {kind: self._temporary(kind) for kind in ("bin", "idx", "lengths")}

    def __enter__(self) -> Self:
        self.prefix.parent.mkdir(parents=True, exist_ok=True)
        self._bin = HashedFile(self._parts["bin"])
        self._lengths = HashedFile(self._parts["lengths"])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._bin.close()
            self._lengths.close()
            for path in self._parts.values():
                path.unlink(missing_ok=True)

    def add(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> None:
        """Appends one whole document.

        Raises:
            DataError: An id is no integer, negative or not below `vocab_size`, or there is none.
        """
        self.extend(ids)
        self.end_document()

    def extend(self, ids: Sequence[int] | npt.NDArray[np.integer]) -> None:
        """Appends tokens to the document that `end_document` will end.

        Raises:
            DataError: An id is no integer, negative or not below `vocab_size`.
        """
        array = np.asarray(ids)
        if array.size == 0:
            return
        self._check(array)
        self._bin.write(array.astype(self.dtype).tobytes())
        self._length += array.size

    def end_document(self) -> None:
        """Ends the document.

        Raises:
            DataError: It has no token, or more than an int32 can count.
        """
        if not 0 < self._length <= _MAX_LENGTH:
            raise DataError(
                f"Document {self.n_documents:,} of {self.prefix} has {self._length:,} tokens;"
                f" the format counts 1 to {_MAX_LENGTH:,}. Drop or cut the document."
            )
        self._lengths.write(np.int32(self._length).astype("<i4").tobytes())
        self.n_documents += 1
        self.n_tokens += self._length
        self._length = 0

    def files(self) -> list[FileRecord]:
        """Tells name, size and sha256 of the two files, once the block has ended."""
        return [self._bin_record, self._idx_record]

    def _check(self, array: npt.NDArray[np.integer]) -> None:
        if array.dtype.kind not in "iu":
            raise DataError(
                f"Document {self.n_documents:,} of {self.prefix} holds values of the type"
                f" {array.dtype}, such as {array.flat[0]}, and ids of tokens are integers. Give"
                " what the tokenizer's encode gives, or an array of an integer type."
            )
        low, high = int(array.min()), int(array.max())
        if low < 0 or high >= self.vocab_size:
            wrong = low if low < 0 else high
            raise DataError(
                f"Document {self.n_documents:,} of {self.prefix} holds the id {wrong:,}, outside"
                f" 0 to {self.vocab_size - 1:,}. Give ShardWriter the vocab_size of the tokenizer"
                " that made the ids, added tokens included (Tokenizer.vocab_size)."
            )

    def _temporary(self, kind: str) -> Path:
        return self.prefix.with_name(f"{self.prefix.name}.{kind}.tmp-{os.getpid()}")

    def _finish(self) -> None:
        if self._length:
            self.end_document()
        self._bin_record = self._bin.record(self._final("bin").name)
        self._bin.close()
        self._lengths.close()
        self._write_index()
        self._idx_record = FileRecord(
            name=self._final("idx").name,
            size_bytes=self._parts["idx"].stat().st_size,
            sha256=sha256_of(self._parts["idx"]),
        )
        self._parts["idx"].replace(self._final("idx"))
        self._parts["bin"].replace(self._final("bin"))

    def _final(self, kind: str) -> Path:
        return self.prefix.with_name(f"{self.prefix.name}.{kind}")

    def _write_index(self) -> None:
        layout = Layout(self.dtype, self.n_documents)
        with self._parts["idx"].open("wb") as file:
            file.write(layout.header())
            for lengths in self._chunks():
                file.write(lengths.tobytes())
            start = 0
            for lengths in self._chunks():
                ends = start + np.cumsum(lengths, dtype="<i8") * self.dtype.itemsize
                file.write((ends - lengths.astype("<i8") * self.dtype.itemsize).tobytes())
                start = int(ends[-1])
            for first in range(0, self.n_documents + 1, _CHUNK):
                last = min(first + _CHUNK, self.n_documents + 1)
                file.write(np.arange(first, last, dtype="<i8").tobytes())

    def _chunks(self) -> Iterator[npt.NDArray[np.int32]]:
        with self._parts["lengths"].open("rb") as file:
            while raw := file.read(4 * _CHUNK):
                yield np.frombuffer(raw, dtype="<i4")


def sha256_of(path: Path) -> str:
    """Hashes a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
