"""BlockCache: blocks of stored files on this machine's disk; the least recently used go first.

    FOLDER/<key of the file>/<number>     the block, and 4 bytes: its CRC-32

The names say that a file is ours (`eviction.py` reads them): a key has 64 hexadecimal digits.
A key is a sum of the file's content, so a block never grows old: other content has another key.
A block is written to a temporary name and renamed, so that any number of processes share a folder.
The last blocks that were read are held in memory, 64 MiB for each cache and whatever the size of
its files. They are not mapped: a map in Python keeps a descriptor, of which a process may have
1,024 (256 on macOS), and a mixture has a cache for each of its corpora.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from roots.errors import ConfigError, DataError
from roots.runs import redact
from roots.stores.asking import fetch
from roots.stores.eviction import KEY, make_room
from roots.stores.patience import Patience

BLOCK_BYTES = 2**18
"""A block holds about 128,000 tokens: rows are drawn from anywhere, so larger ones waste more."""

_SUM_BYTES = 4
_HELD = 256
"""Blocks that are held in memory: a search asks for the same few again."""
_LOCKS = 64
_SECONDS_OF_ONE_USE = 60.0
"""Within so many seconds a block that is used again is not marked again."""


@dataclass(frozen=True)
class StoredFile:
    """A file whose blocks are kept.

    Args:
        url: Where it is.
        key: The sha256 of its content.
        size: Its bytes.
        check: Says what is wrong with the bytes of a block that arrived, by its number; nothing
            where it is right.
        sum_of: Tells the CRC-32 that a block must have, where that is known: who kept a block
            before it was, may have kept a wrong one.

    Raises:
        DataError: The key is no sha256, so that its blocks could not be told from other files.
    """

    url: str
    key: str
    size: int
    check: Callable[[int, bytes], str] = lambda _number, _raw: ""
    sum_of: Callable[[int], int] | None = None

    def __post_init__(self) -> None:
        if not KEY.fullmatch(self.key):
            raise DataError(
                f"{redact(self.url)} is said to have the sha256 {self.key!r}, which is none: it has"
                " 64 of the digits 0-9 and a-f. Write the folder's manifest again, with `roots"
                " corpus` or roots.corpus.adopt."
            )

    def bounds(self, number: int) -> tuple[int, int]:
        """Gives the first byte of a block, and the one behind its last."""
        return number * BLOCK_BYTES, min((number + 1) * BLOCK_BYTES, self.size)


class BlockCache:
    """Reads stored files in blocks, and keeps those.

    Args:
        folder: Where the blocks are kept.
        limit_bytes: How much they may take, of all files together; passed by at most what some
            processes fetch at one time.
        patience: How often a block is asked for.

    Raises:
        ConfigError: The limit is too small to work with.
        DataError: The folder cannot be made or written to.
    """

    def __init__(self, *, folder: Path, limit_bytes: int, patience: Patience) -> None:
        if limit_bytes < _LOCKS * BLOCK_BYTES:
            raise ConfigError(
                f"A cache of {limit_bytes:,} bytes is too small. Set cache_gib to"
                f" {_LOCKS * BLOCK_BYTES / 2**30:g} or more; best is the size of the corpus."
            )
        self.folder = folder
        self.limit_bytes = limit_bytes
        self.patience = patience
        self._held: OrderedDict[tuple[str, int], memoryview] = OrderedDict()
        self._own = threading.Lock()
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._since_look = limit_bytes  # the first block that is written looks at what is there
        self._is_told = False
        self._make_folder()

    def read(self, file: StoredFile, start: int, stop: int) -> memoryview:
        """Reads the bytes from `start` to before `stop` of a file.

        Raises:
            DataError: They cannot be fetched, or are wrong each time.
        """
        first, last = start // BLOCK_BYTES, max(stop - 1, start) // BLOCK_BYTES
        offset = first * BLOCK_BYTES
        if first == last:
            return self._block(file, first)[start - offset : stop - offset]
        joined = b"".join(self._block(file, number) for number in range(first, last + 1))
        return memoryview(joined)[start - offset : stop - offset]

    def _block(self, file: StoredFile, number: int) -> memoryview:
        name = file.key, number
        with self._own:
            if name in self._held:
                self._held.move_to_end(name)
                return self._held[name]
        with self._locks[hash(name) % _LOCKS]:  # who comes second finds it on the disk
            block = self._on_disk(file, number)
            if block is None:
                block = self._fetched(file, number)
        with self._own:
            self._held[name] = block
            if len(self._held) > _HELD:
                self._held.popitem(last=False)
        return block

    def _on_disk(self, file: StoredFile, number: int) -> memoryview | None:
        """Reads a block that is there and whole."""
        start, stop = file.bounds(number)
        path, size = self._path(file, number), stop - start + _SUM_BYTES
        try:
            with path.open("rb", buffering=0) as opened:
                used = os.fstat(opened.fileno()).st_mtime
                raw = memoryview(opened.read(size + 1))
        except OSError:  # not there, or removed by another machine meanwhile, or on a failing disk
            return None
        if len(raw) != size:
            return None
        block = raw[:-_SUM_BYTES]
        kept = int.from_bytes(raw[-_SUM_BYTES:], "little")
        if zlib.crc32(block) != (file.sum_of(number) if file.sum_of else kept):
            return None
        if time.time() - used > _SECONDS_OF_ONE_USE:
            with suppress(OSError):
                os.utime(path)
        return block

    def _fetched(self, file: StoredFile, number: int) -> memoryview:
        start, stop = file.bounds(number)
        raw = fetch(file.url, start, stop, self.patience, lambda raw: file.check(number, raw))
        self._since_look += len(raw)
        try:
            self._keep(self._path(file, number), raw)
            if self._since_look > self.limit_bytes // _LOCKS:
                self._since_look = 0
                make_room(self.folder, self.limit_bytes)
        except OSError as error:
            self._tell_once(error)
        return memoryview(raw)

    def _keep(self, path: Path, raw: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            temporary.write_bytes(raw + zlib.crc32(raw).to_bytes(_SUM_BYTES, "little"))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _path(self, file: StoredFile, number: int) -> Path:
        return self.folder / file.key / f"{number:x}"

    def _tell_once(self, error: OSError) -> None:
        """Says that blocks are not kept: a full disk must not end a run that can go on."""
        if not self._is_told:
            self._is_told = True
            sys.stderr.write(
                f"{self.folder}: a block could not be kept ({error}), so it is fetched again when"
                " it is needed again, which is slow. Make room, or set cache_gib lower or"
                " cache_dir to a folder on another disk.\n"
            )

    def _make_folder(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / ".lock").touch()
        except OSError as error:
            raise DataError(
                f"{self.folder} cannot be written to ({error}), so no blocks can be kept there. Set"
                " cache_dir of roots.shards.Streamed to a folder that you may write to."
            ) from error
