"""ShardFolder: a folder of shards, checked when it is opened."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from roots.errors import ConfigError, DataError
from roots.shards.layout import REBUILD, check_size, mapped
from roots.shards.manifest import FileRecord, Manifest
from roots.shards.reader import Opener, Shard
from roots.shards.stored_array import StoredArray
from roots.shards.streamed import Streamed
from roots.shards.sums import Sums, sums_of, write_sums
from roots.shards.writer import sha256_of
from roots.stores import BlockCache, StoredFile, StoredPath, address_of, located

TOKENIZER = "tokenizer"


class ShardFolder:
    """A folder of shards: `manifest.json`, `tokenizer/`, and two files per split.

    Args:
        path: The folder.
        manifest: What it says of itself.
        values: Gives the values of its files; on this machine's disk they are mapped.
    """

    def __init__(self, *, path: Path, manifest: Manifest, values: Opener = mapped) -> None:
        self.path = path
        self.manifest = manifest
        self._values = values

    @classmethod
    def open(cls, path: str | Path | Streamed) -> ShardFolder:
        """Opens a folder and checks sizes and headers, which takes no longer for more tokens.

        Args:
            path: The folder, or its URL in an object store, with or without how it is streamed.

        Raises:
            DataError: It is no such folder, or a file is missing, cut short or of another kind.
        """
        where = path.folder if isinstance(path, Streamed) else located(path)
        folder = cls(path=where, manifest=Manifest.read(where))
        if isinstance(where, StoredPath):
            streamed = path if isinstance(path, Streamed) else Streamed(url=where.url)
            folder._values = _Stored(where, folder.manifest, streamed.cache())
        for record in folder._files():
            _check_file(where / record.name, record)
        for name in folder.splits:
            folder._check_split(name)
        return folder

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits that are there."""
        return tuple(self.manifest.splits)

    @property
    def fingerprint(self) -> str:
        """The sha256 over the tokenizer's and the files': it changes when any token does."""
        sums = [self.manifest.tokenizer_fingerprint, *(file.sha256 for file in self._files())]
        return hashlib.sha256("\n".join(sums).encode()).hexdigest()

    @property
    def tokenizer_path(self) -> Path:
        """The folder of the tokenizer, for `roots.tokenizer.Tokenizer.load`."""
        return self.path / TOKENIZER

    def shard(self, split: str) -> Shard:
        """Opens one split.

        Raises:
            ConfigError: There is no such split.
        """
        if split not in self.manifest.splits:
            raise ConfigError(
                f"{self.path} has no split '{split}'; it has {', '.join(self.splits)}."
                f" Build it again with {split}_fraction above 0, or use another split."
            )
        return Shard(self.path / split, values=self._values)

    def verify(self) -> None:
        """Hashes every file and compares with the manifest; reads all of them.

        Raises:
            DataError: A file does not hash to what the manifest says.
        """
        for record in self._files():
            found = sha256_of(self.path / record.name)
            if found != record.sha256:
                raise DataError(
                    f"{self.path / record.name} was changed: its sha256 is {found},"
                    f" expected {record.sha256}. {REBUILD}"
                )

    def write_sums(self) -> list[Path]:
        """Writes the sums of the blocks of every file, for who streams it; reads all of them.

        Raises:
            DataError: A file does not hash to what the manifest says.
        """
        return [write_sums(self.path / record.name, record) for record in self._files()]

    def _files(self) -> list[FileRecord]:
        return [record for split in self.manifest.splits.values() for record in split.files]

    def _check_split(self, name: str) -> None:
        shard, said = self.shard(name), self.manifest.splits[name]
        found = (shard.n_documents, shard.n_tokens, shard.dtype.name)
        expected = (said.documents, said.tokens, self.manifest.dtype)
        if found != expected:
            raise DataError(
                f"{shard.prefix} does not fit its manifest: (documents, tokens, dtype) are {found},"
                f" expected {expected}. {REBUILD}"
            )


class _Stored:
    """Gives the values of the files of a folder in an object store.

    What arrives is compared with the sums of the blocks where the folder has some; without them
    the ids of tokens are at least compared with the vocabulary.
    """

    def __init__(self, folder: StoredPath, manifest: Manifest, cache: BlockCache) -> None:
        self.cache = cache
        records = [record for split in manifest.splits.values() for record in split.files]
        self._files = {
            record.name: _stored_file(folder / record.name, record, manifest) for record in records
        }

    def __call__(self, path: Path, dtype: npt.DTypeLike, offset: int, length: int) -> StoredArray:
        file = self._files[path.name]
        return StoredArray(self.cache, file, dtype=dtype, offset=offset, length=length)


def _stored_file(path: Path, record: FileRecord, manifest: Manifest) -> StoredFile:
    file = StoredFile(url=address_of(path), key=record.sha256, size=record.size_bytes)
    if sums_of(path).is_file():
        sums = Sums(path, record)
        return replace(file, check=sums, sum_of=sums.of)
    if path.suffix == ".bin":
        dtype = np.dtype(manifest.dtype).newbyteorder("<")
        return replace(file, check=partial(_check_ids, dtype, manifest.vocab_size))
    return file


def _check_ids(dtype: np.dtype[np.integer], vocab_size: int, number: int, raw: bytes) -> str:
    ids = np.frombuffer(raw, dtype=dtype)
    low, high = int(ids.min()), int(ids.max())
    if low >= 0 and high < vocab_size:
        return ""
    wrong = low if low < 0 else high
    return f"block {number:,} holds the id {wrong:,}, outside 0 to {vocab_size - 1:,}"


def _check_file(path: Path, record: FileRecord) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing, though the manifest lists it. {REBUILD}")
    check_size(path, record.size_bytes)
