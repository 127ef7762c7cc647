"""Streamed: shards in an object store, read in blocks that are kept on this machine's disk."""

from __future__ import annotations

import math
import os
from pathlib import Path

from roots.errors import ConfigError
from roots.records import expanded
from roots.stores import BlockCache, Patience, StoredPath, is_url, located


class Streamed:
    """Shards in an object store, read in blocks that are kept on this machine's disk.

    Rows are drawn from anywhere, in the same order as from a local folder; so a cache that holds
    the whole corpus reads each byte once, and a smaller one reads many of them again.

    Args:
        url: The folder of shards: s3://bucket/path, gs://…, hf://datasets/NAME/…, https://….
        cache_dir: Where blocks are kept, in its folder roots-blocks; empty for
            XDG_CACHE_HOME/roots/blocks or ~/.cache/roots/blocks. Any number of processes and
            corpora share it.
        cache_gib: How much all blocks may take, in GiB; the least recently used go first.
        tries: How often the store is asked for a block, or another file, before the run is given
            up.
        timeout_seconds: How long one answer of the store may take.
        connections: Blocks that are fetched at one time, per process.
        steps_ahead: Steps whose blocks are fetched before they are needed.
        verify: Compare the sha256 of every file with the manifest before the first step; this
            reads all of it once, without keeping it.

    Raises:
        ConfigError: No URL of an object store, or a number that cannot work.
    """

    def __init__(
        self,
        *,
        url: str,
        cache_dir: str = "",
        cache_gib: float = 32.0,
        tries: int = 6,
        timeout_seconds: float = 60.0,
        connections: int = 16,
        steps_ahead: int = 2,
        verify: bool = False,
    ) -> None:
        if not is_url(url):
            raise ConfigError(
                f"url={url} is no URL of an object store. Write s3://bucket/path, gs://…, …; a"
                " local folder is given as `shards` itself."
            )
        if not math.isfinite(cache_gib):
            raise ConfigError(
                f"cache_gib={cache_gib} is no size. Set it to the GiB that blocks may take; best is"
                " the size of the corpus."
            )
        if connections < 1 or steps_ahead < 0:
            raise ConfigError(
                f"connections={connections} and steps_ahead={steps_ahead} cannot work. Set"
                " connections to 1 or more and steps_ahead to 0 or more."
            )
        self.url = url
        self.cache_dir = cache_dir
        self.cache_gib = cache_gib
        self.tries = tries
        self.timeout_seconds = timeout_seconds
        self.connections = connections
        self.steps_ahead = steps_ahead
        self.verify = verify
        self._patience = Patience(tries=tries, timeout_seconds=timeout_seconds)

    @property
    def folder(self) -> StoredPath:
        """The folder of shards, as a path."""
        found = located(self.url)
        assert isinstance(found, StoredPath)
        return found.patient(self._patience)

    def cache(self) -> BlockCache:
        """Opens the folder that keeps the blocks."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        own = Path(expanded(self.cache_dir)) / "roots-blocks" if self.cache_dir else None
        folder = own or cache / "roots" / "blocks"
        return BlockCache(
            folder=folder, limit_bytes=int(self.cache_gib * 2**30), patience=self._patience
        )
