"""NotedPass: a pass that notes how far it is, so that a killed one goes on where it was."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from roots.corpus.noted_parts import Parts
from roots.corpus.stage import OrderedMap, Pass
from roots.records import Document, Verdict
from roots.shards.maker import silent


@dataclass(frozen=True)
class PassNotes:
    """Where a pass keeps its files, and what it finds there when it goes on.

    Args:
        folder: For its files. A killed pass finds it as it was, with the same documents, settings
            and code; otherwise it is empty.
        n_documents: How many documents there are; None for a pass that is never gone on with.
        name: The pass.
        say: Shows a line to the user.
    """

    folder: Path
    n_documents: int | None = None
    name: str = ""
    say: Callable[[str], None] = silent

    def parts(self, step: str, names: Sequence[str], *, given: str = "") -> Parts:
        """Opens the files of a step, behind the parts that are there.

        Args:
            step: Its name.
            names: The files that it adds to.
            given: What the parts depend on beside documents, settings and code.
        """
        keeps = self.n_documents is not None
        return Parts(self.folder, step, names, given=given, keeps=keeps)

    def tell(self, parts: Parts) -> None:
        """Tells the user what is there of a step that goes through the documents."""
        if parts.n:
            self.tell_of(parts.step, parts.noted["documents"], self.n_documents or 0, "documents")

    def tell_of(self, step: str, n: int, of: int, unit: str) -> None:
        """Tells the user what is there of a step."""
        self.say(f"{self.name}: {step} of {n:,} of {of:,} {unit} are there")

    def is_complete(self, parts: Parts) -> bool:
        """Tells whether a step went through all documents."""
        return bool(parts.noted.get("documents", 0) == self.n_documents)


class NotedPass(Pass):
    """A pass that can go on where a killed one was."""

    def decide(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        ordered_map: OrderedMap = map,
    ) -> Iterator[Verdict]:
        """Streams one verdict per document, from the beginning on, and leaves its findings."""
        with TemporaryDirectory(dir=scratch, prefix=f".{self.name}-") as name:
            yield from self.decide_noted(documents, scratch, PassNotes(Path(name)), ordered_map)

    @abstractmethod
    def decide_noted(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        notes: PassNotes,
        ordered_map: OrderedMap,
    ) -> Iterator[Verdict]:
        """Streams one verdict per document, in their order, without doing again what is noted.

        Args:
            documents: Gives a new stream of the same documents each time that it is called.
            scratch: Where `findings` are left.
            notes: Hold what is finished.
            ordered_map: Spreads the work on texts over processes.

        Raises:
            DataError: Two streams gave different documents.
        """
