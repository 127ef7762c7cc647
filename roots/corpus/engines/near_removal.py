"""The last step of near-duplicate removal: takes out the documents that fell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from roots.corpus.books import Books
from roots.corpus.duplicates import NearDuplicates
from roots.corpus.engines.datatrove_parts import DiskWriter
from roots.corpus.engines.deciding_step import Decide, DecidingStep
from roots.corpus.engines.engine_folder import EngineFolder
from roots.corpus.engines.near_verification import other_shards
from roots.corpus.engines.stage_list import DOCUMENTS
from roots.corpus.staging import Dropped
from roots.errors import DataError
from roots.records import KEEP, Document, Drop


@dataclass(frozen=True, slots=True)
class Fallen:
    """A document that falls for another.

    Args:
        id: Its own.
        drop: Why.
    """

    id: str
    drop: Drop


class Removal(DecidingStep):
    """Drops, as `near_duplicate`, what the verification found; needs no text to do it.

    Args:
        fallen: What the verification wrote.
        shards: How many there are.
        near: The settings by which they fell.
        books: A folder for the books of this run alone.
        source_key: The key of a document's metadata that names its source in the books.
        exclusion_writer: Given the documents that are dropped, with their texts as they came.
    """

    name = "roots removal of near duplicates"

    def __init__(
        self,
        *,
        fallen: EngineFolder,
        shards: int,
        near: NearDuplicates,
        books: str | Path,
        source_key: str,
        exclusion_writer: DiskWriter | None,
    ) -> None:
        super().__init__(books=books, source_key=source_key, exclusion_writer=exclusion_writer)
        self.fallen = fallen
        self.shards = shards
        self.near = near

    @property
    def deciding(self) -> Sequence[NearDuplicates]:
        """The settings."""
        return [self.near]

    def new_books(self) -> Books:
        """Opens books with one row."""
        return Books(["NearDuplicates"], source=DOCUMENTS)

    @contextmanager
    def opened(self, books: Books, rank: int, world_size: int) -> Iterator[Decide]:
        """Reads what fell of the task.

        Raises:
            DataError: A shard is not verified yet, or the documents are others.
        """
        left = self._read(rank, world_size)
        numbers = count()

        def decide(document: Document) -> Document | Dropped:
            number = next(numbers)
            found = left.pop(number, None)
            if found is None:
                books.enter(0, document, KEEP)
                return document
            if found.id != document.id:
                raise _other_documents(rank, number, found, f"is '{document.id}'")
            books.enter(0, document, found.drop)
            return Dropped(0, found.drop, document)

        yield decide
        if left:
            number = min(left)
            raise _other_documents(rank, number, left[number], "is not there")

    def _read(self, rank: int, world_size: int) -> dict[int, Fallen]:
        found: dict[int, Fallen] = {}
        finished = self.fallen.names(".json")
        if above := [name for name in finished if int(name.removesuffix(".json")) >= self.shards]:
            raise other_shards(self.fallen, above, self.shards, "verification")
        for shard in range(self.shards):
            if f"{shard:05d}.json" not in finished:
                raise DataError(
                    f"{self.fallen} lacks shard {shard} of {self.shards:,}: the verification has"
                    " not ended. Run the step `verification` to its end before this one."
                )
            with self.fallen.open(f"{shard:05d}.json", "r") as file:
                counts = {int(task): n for task, n in json.load(file).items()}
            if max(counts, default=0) >= world_size:
                raise DataError(
                    f"Documents of task {max(counts)} fell, and there are {world_size:,} tasks now."
                    " Run with as many tasks as the signatures had."
                )
            if rank in counts:
                found |= self._read_shard(shard, rank)
        return found

    def _read_shard(self, shard: int, rank: int) -> dict[int, Fallen]:
        with self.fallen.open(f"{shard:05d}/{rank:05d}.jsonl", "r") as file:
            lines = [json.loads(line) for line in file]
        return {line["number"]: Fallen(line["id"], _drop(line["jaccard"], line)) for line in lines}


def _drop(jaccard: float, line: dict[str, str]) -> Drop:
    return Drop("near_duplicate", f"Jaccard {jaccard:.4f} with {line['kept']}")


def _other_documents(rank: int, number: int, found: Fallen, now: str) -> DataError:
    return DataError(
        f"Document {number:,} of task {rank} was '{found.id}' when near duplicates were looked for,"
        f" and {now} now. Give this step the same reader and as many tasks as the signatures had."
    )
