"""ShardFolder: a folder of shards, checked when it is opened."""

from __future__ import annotations

import hashlib
from pathlib import Path

from roots.errors import ConfigError, DataError
from roots.shards.layout import REBUILD, check_size
from roots.shards.manifest import FileRecord, Manifest
from roots.shards.reader import Shard
from roots.shards.writer import sha256_of

TOKENIZER = "tokenizer"


class ShardFolder:
    """A folder of shards: `manifest.json`, `tokenizer/`, and two files per split.

    Args:
        path: The folder.
        manifest: What it says of itself.
    """

    def __init__(self, *, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | Path) -> ShardFolder:
        """Opens a folder and checks sizes and headers, which takes no longer for more tokens.

        Raises:
            DataError: It is no such folder, or a file is missing, cut short or of another kind.
        """
        folder = cls(path=Path(path), manifest=Manifest.read(Path(path)))
        for record in folder._files():
            _check_file(folder.path / record.name, record)
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
        """Maps one split.

        Raises:
            ConfigError: There is no such split.
        """
        if split not in self.manifest.splits:
            raise ConfigError(
                f"{self.path} has no split '{split}'; it has {', '.join(self.splits)}."
                f" Build it again with {split}_fraction above 0, or use another split."
            )
        return Shard(self.path / split)

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


def _check_file(path: Path, record: FileRecord) -> None:
    if not path.is_file():
        raise DataError(f"{path} is missing, though the manifest lists it. {REBUILD}")
    check_size(path, record.size_bytes)
