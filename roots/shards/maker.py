"""ShardMaker: whatever can make a folder of shards; all that `roots.data` knows of a corpus."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from pathlib import Path

from roots.records import expanded
from roots.shards.publishing import check_ours, publish, remove_rest


class ShardMaker(ABC):
    """Makes a folder of shards when it is not there or no longer fits.

    Args:
        out: The folder; `~` and `${VARIABLE}` are expanded.
    """

    out: str

    @property
    def folder(self) -> Path:
        """The folder of shards, as a path."""
        return Path(expanded(self.out))

    @abstractmethod
    def stale_because(self) -> str | None:
        """Tells why the folder must be built, in words that end a sentence; None when it fits.

        Raises:
            DataError: The folder is there, and is not a folder of shards.
        """

    @abstractmethod
    def build(self, folder: Path, work: Path, progress: bool) -> None:
        """Writes everything into `folder`, the manifest last.

        Args:
            folder: An empty folder.
            work: An empty folder beside it, for what is only needed meanwhile. When the build ends
                early and leaves `journal.json` in it, the next one finds both folders as they were.
            progress: Show on stderr how far it is.
        """

    @abstractmethod
    def describe(self) -> str:
        """Says in one line what would be read and written."""

    @abstractmethod
    def planned_vocab_size(self) -> int:
        """Tells the vocabulary size to plan with before anything is built."""

    def files(self) -> list[Path]:
        """Lists the files that it is made of; a maker that reads none has none.

        Raises:
            DataError: One is missing.
        """
        return []

    def is_ready(self) -> bool:
        """Tells whether `prepare` would do nothing."""
        return self.stale_because() is None

    def replaced_because(self) -> str:
        """Tells why `prepare` would replace a folder that is there; empty where it would not."""
        is_there = self.folder.is_dir() and any(self.folder.iterdir())
        return (self.stale_because() or "") if is_there else ""

    def prepare(self, progress: bool = True) -> Path:
        """Makes the folder unless it is ready. Several processes may call it: one builds.

        Args:
            progress: Show on stderr how far it is.

        Returns:
            The folder.

        Raises:
            DataError: `out` is there and is not a folder of shards, or cannot be replaced, or the
                input cannot be read.
        """
        check_ours(self.folder)
        if self.is_ready():
            remove_rest(self.folder)
        else:
            publish(
                self.folder,
                reason=self.stale_because,
                build=lambda folder, work: self.build(folder, work, progress),
                say=say if progress else silent,
            )
        return self.folder


def say(line: str) -> None:
    """Shows a line on stderr."""
    sys.stderr.write(line + "\n")


def silent(line: str) -> None:
    """Shows nothing."""
    del line
