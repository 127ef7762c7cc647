"""Parts: what of a step of a pass is finished, with sums, so that a killed one goes on behind it.

A step adds to its files part by part; a part is a run of blocks of documents, or a band. When one
is on disk, that is noted: how long each file is by then, and the sum of all that it holds. Each
note is a file of its own, which is not touched again. The parts that go on are those up to the
first of which the note or a file is damaged; what stands behind them is cut off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import count, takewhile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from roots.corpus.notes import read_notes, write_notes
from roots.shards import FileRecord
from roots.shards.hashed_file import HashedFile, n_whole
from roots.shards.writer import sha256_of


class Parts:
    """The finished parts of a step; a context manager that closes its files.

    Args:
        folder: Where the files and the notes lie.
        step: Its name; each has its own in a folder.
        names: The files that it adds to.
        given: What the parts depend on beside what all of the folder does.
        keeps: Whether notes are made. Without them nobody goes on.

    Attributes:
        files: Those files, open behind the parts that are there.
        n: How many parts are there.
        noted: What was noted of the last of them, beside the files; nothing when there is none.
    """

    def __init__(
        self,
        folder: Path,
        step: str,
        names: Sequence[str],
        *,
        given: str = "",
        keeps: bool = True,
    ) -> None:
        self.folder, self.step = folder, step
        self._given, self._keeps = given, keeps
        before = self._whole(names)
        self.n = len(before)
        self.noted: dict[str, Any] = before[-1]["noted"] if before else {}
        last = before[-1]["files"] if before else {}
        self.files = [
            HashedFile(folder / name, after=FileRecord(**last[name]) if last else None)
            for name in names
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self.files:
            file.close()

    def note(self, *made: Path, **content: Any) -> None:
        """Notes that one more part is there.

        Args:
            made: Whole files of this part alone, in the folder.
            content: Plain values.
        """
        if self._keeps:
            files = [file.record(file.path.name) for file in self.files]
            wholes = [FileRecord(path.name, path.stat().st_size, sha256_of(path)) for path in made]
            notes = {
                "given": self._given,
                "files": {record.name: asdict(record) for record in files},
                "made": [asdict(record) for record in wholes],
                "noted": content,
            }
            write_notes(self._path(self.n), notes)
        self.noted = content
        self.n += 1

    def _path(self, part: int) -> Path:
        return self.folder / f"{self.step}-{part:06d}.json"

    def _whole(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Reads the notes of the parts that are whole, and removes the others."""
        notes = list(self._readable())
        for name in names:
            told = takewhile(bool, (note["files"].get(name) for note in notes))
            records = [FileRecord(**record) for record in told if record]
            notes = notes[: n_whole(self.folder / name, records)]
        notes = list(takewhile(self._are_made, notes))
        for path in sorted(self.folder.glob(f"{self.step}-*.json"))[len(notes) :]:
            path.unlink()
        return notes

    def _readable(self) -> Iterator[dict[str, Any]]:
        for part in count():
            try:
                notes = read_notes(self._path(part))
            except (OSError, ValueError):
                return
            if notes["given"] != self._given:
                return
            yield notes

    def _are_made(self, notes: dict[str, Any]) -> bool:
        records = [FileRecord(**record) for record in notes["made"]]
        return all(n_whole(self.folder / record.name, [record]) for record in records)
