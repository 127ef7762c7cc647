"""DatatroveStages: a list of stages as one step of a datatrove pipeline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from roots.corpus.books import Books
from roots.corpus.engines.datatrove_parts import DiskWriter
from roots.corpus.engines.deciding_step import Decide, DecidingStep
from roots.corpus.engines.stage_list import StageList
from roots.corpus.pipeline import Pipeline
from roots.corpus.stage import Part


class DatatroveStages(DecidingStep):
    """Runs stages on the documents of a datatrove pipeline, under any of its executors.

        from datatrove.executor import LocalPipelineExecutor
        from datatrove.pipeline.readers import JsonlReader
        from datatrove.pipeline.writers import JsonlWriter
        from roots.corpus import GopherQuality, Normalise, Pii
        from roots.corpus.engines import DatatroveStages, read_books

        stages = DatatroveStages([Normalise(), GopherQuality(), Pii()], books="books")
        pipeline = [JsonlReader("pages"), stages, JsonlWriter("clean")]
        if __name__ == "__main__":
            LocalPipelineExecutor(pipeline, tasks=8, logging_dir="logs").run()
            print(read_books("books"))

    On a cluster only the executor differs. It pickles the pipeline (dill), so write stages of your
    own in a module that the nodes can import:

        SlurmPipelineExecutor(pipeline, tasks=800, time="04:00:00", partition="cpu", …).run()
        RayPipelineExecutor(pipeline, tasks=800, …).run()

    Each document meets the stages that `Pipeline.run` would ask, with the same verdicts. A stage
    knows of one document only; what looks at all of them (duplicates) has steps of its own.

    Args:
        stages: In their order; or a `Pipeline` of them.
        books: A folder for the books of this run alone, which every task reaches (`s3://…` too).
            `read_books` adds them up, and says when those of a task are missing.
        source_key: The key of a document's metadata that names its source in the books.
        exclusion_writer: A writer of datatrove, given the documents that are dropped. Part, reason
            and detail are in their metadata; what `Pii` would replace is taken out of their text.

    Raises:
        ConfigError: A part is a pass.
        MissingExtra: A task lacks a package that a stage needs.
    """

    name = "roots stages"

    def __init__(
        self,
        stages: Sequence[Part] | Pipeline,
        *,
        books: str | Path,
        source_key: str = "source",
        exclusion_writer: DiskWriter | None = None,
    ) -> None:
        super().__init__(books=books, source_key=source_key, exclusion_writer=exclusion_writer)
        self.stages = StageList(stages)

    @contextmanager
    def opened(self, books: Books, rank: int, world_size: int) -> Iterator[Decide]:
        """Looks whether all is there."""
        del rank, world_size
        self.stages.check()
        yield lambda document: self.stages.decide(document, books)

    @property
    def deciding(self) -> Sequence[Part]:
        """The stages."""
        return self.stages.pipeline.parts

    def new_books(self) -> Books:
        """Opens books with a row per stage."""
        return self.stages.books()

    def redact(self, text: str) -> str:
        """Takes out of a text what the stages would."""
        return self.stages.redact(text)
