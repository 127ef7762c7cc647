"""Journal: what of a build is finished, with sums, so that a killed one goes on where it was.

The steps of a build are noted in their order. The note of a step names the files that it made, or
made so far; a file may have grown since, and what no note tells of is not taken over. A note
replaces the one before in one rename, so a kill at any moment leaves one or the other; a power cut
may leave a note of bytes that never reached the disk, which their sum shows.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roots.corpus.notes import read_notes, write_notes
from roots.corpus.progress import megabytes
from roots.corpus.recipe import differences
from roots.errors import DataError
from roots.shards import FileRecord
from roots.shards.hashed_file import HashedFile, hash_of_beginning
from roots.shards.publishing import NOTES
from roots.shards.writer import sha256_of

PART = ".part"
"""What a file is called in `work` that goes to the corpus, without that, when it is complete."""
DOCUMENTS, STAGES, TOKENIZER, TOKENS = STEPS = ("documents", "stages", "tokenizer", "tokens")
"""Which steps there are, in the order in which a build comes to them."""
_SHOWN = 3


class Journal:
    """The notes of one build; what fits is taken over when it is made, the rest is removed.

    Args:
        folder: What becomes the corpus.
        work: Where the notes lie, beside `folder`, and the files that only the build needs.
        identity: What decides which bytes come out. With other notes the build begins anew; None
            is for a build whose code cannot be compared, which leaves no notes.
        say: Shows a line to the user.
    """

    def __init__(
        self,
        *,
        folder: Path,
        work: Path,
        identity: Mapping[str, Any] | None,
        say: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.work = work
        self.identity = identity
        self.say = say
        self._steps: dict[str, dict[str, Any]] = self._fitting()
        if self._steps:
            sizes = (record["size_bytes"] for record in self._records())
            say(f"going on with what was done: {', '.join(self._steps)} ({megabytes(sum(sizes))})")
        self._clear()

    def found(self, step: str) -> dict[str, Any] | None:
        """Gives what was noted of a step that is finished, or was begun."""
        return self._steps.get(step)

    def file(self, path: Path, step: str) -> HashedFile:
        """Opens a file for writing: behind what a step noted of it, or anew."""
        name = self._name(path)
        records = self._steps.get(step, {}).get("files", [])
        known = [FileRecord(**record) for record in records if record["name"] == name]
        return HashedFile(path, after=known[0] if known else None)

    def note(
        self, step: str, files: Iterable[FileRecord], *, instead_of: str = "", **content: Any
    ) -> None:
        """Notes how far a step is.

        Args:
            step: One of `STEPS`.
            files: What it made so far; `record` gives them.
            instead_of: A step whose note this one replaces.
            content: Plain values that the step needs to go on.
        """
        if self.identity is None:
            return
        self._steps.pop(instead_of, None)
        self._steps[step] = _as_json({"files": [asdict(file) for file in files], **content})
        write_notes(self.work / NOTES, {"identity": self.identity, "steps": self._steps})

    def record(self, file: HashedFile | Path) -> FileRecord:
        """Tells what a file holds, so far or in the end."""
        if isinstance(file, HashedFile):
            return file.record(self._name(file.path))
        return FileRecord(self._name(file), file.stat().st_size, sha256_of(file))

    def forget(self) -> None:
        """Removes what there is to go on with: nothing good can come of it."""
        self._steps = {}
        (self.work / NOTES).unlink(missing_ok=True)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.work.parent).as_posix()

    def _records(self) -> list[dict[str, Any]]:
        return [record for step in self._steps.values() for record in step["files"]]

    def _fitting(self) -> dict[str, dict[str, Any]]:
        """Reads the notes, as far as they are of this very build and their files are whole."""
        if not (self.work / NOTES).exists():
            return {}
        try:
            notes = read_notes(self.work / NOTES)
        except (OSError, ValueError) as error:
            self.say(f"beginning anew, because what was left has no notes to go by: {error}")
            return {}
        if self.identity is None or notes["identity"] != _as_json(self.identity):
            changed = differences(notes["identity"], _as_json(self.identity or {}))
            self.say(f"beginning anew, because what was left is of another build: {_few(changed)}")
            return {}
        return self._whole_steps(notes["steps"])

    def _whole_steps(self, steps: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        fitting: dict[str, dict[str, Any]] = {}
        for step in (step for step in STEPS if step in steps):
            try:
                for record in steps[step]["files"]:
                    self._verify(FileRecord(**record))
            except DataError as error:
                self.say(f"not going on with {step}, nor with what came after: {error}")
                return fitting
            fitting[step] = steps[step]
        return fitting

    def _verify(self, record: FileRecord) -> None:
        path = self.work.parent / record.name
        finished = self.folder / path.name.removesuffix(PART)
        if path.suffix == PART and not path.exists() and finished.exists():
            finished.replace(path)
        hash_of_beginning(path, record)

    def _clear(self) -> None:
        """Removes what no note tells of; without notes, everything."""
        names = {record["name"] for record in self._records()}
        known = {self.work.parent / name for name in names} | {self.work / NOTES}
        for path in [*self.folder.rglob("*"), *self.work.iterdir()]:
            if path.is_file() and (path not in known or not self._steps):
                path.unlink()
        if not self._steps:
            for path in self.work.iterdir():
                shutil.rmtree(path)


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _few(changed: list[str]) -> str:
    more = f"; and {len(changed) - _SHOWN:,} more" if len(changed) > _SHOWN else ""
    return "; ".join(changed[:_SHOWN]) + more
