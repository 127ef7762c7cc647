"""NearDuplicateSteps: near duplicates removed by many tasks, none of them unverified."""

from __future__ import annotations

from pathlib import Path

from roots.corpus.duplicates import NearDuplicates
from roots.corpus.engines.datatrove_parts import (
    DiskWriter,
    MinhashDedupBuckets,
    MinhashDedupCluster,
)
from roots.corpus.engines.engine_folder import EngineFolder
from roots.corpus.engines.near_candidates import CandidateShingles
from roots.corpus.engines.near_removal import Removal
from roots.corpus.engines.near_signatures import ShingleSignatures, Shingling, minhash_config
from roots.corpus.engines.near_verification import Verification
from roots.errors import ConfigError


class NearDuplicateSteps:
    """The steps of six datatrove pipelines, each to be run to its end before the next.

        steps = NearDuplicateSteps(NearDuplicates(threshold=0.8), folder="near", verifiers=4)
        for pipeline, tasks in [
            ([reader, steps.signatures()], 8),
            ([steps.buckets()], steps.n_buckets),
            ([steps.clusters()], 1),
            ([reader, steps.candidates()], 8),
            ([steps.verification()], steps.verifiers),
            ([reader, steps.removal(books="books"), writer], 8),
        ]:
            LocalPipelineExecutor(pipeline, tasks=tasks, logging_dir=…).run()

    (Slurm's and Ray's executors take `depends=` instead of a loop.) datatrove's signatures, buckets
    and clusters find the candidates, here on the shingles of `NearDuplicates`. Its own fourth step
    would drop all of a cluster but one document, alike or not; instead, the shingles of candidates
    are compared exactly, and a document falls only for a kept one that reaches the threshold. Which
    one is kept depends on the texts, the settings and the order: tasks by their number, documents
    by their reader. Where that is the order of a source, `NearDuplicates` keeps the same ones, but
    for pairs that one of the two overlooks (`recall`).

    `folder` ends with lines that say which document fell for which: `fallen/<shard>/<task>.jsonl`.
    On disk it takes per document and bucket 8 bytes per row and 4 more, and 8 bytes per shingle of
    a document that shares a bucket; datatrove's clusters are in the memory of their one task.

    Args:
        near: The settings; all of them are used.
        folder: For the files between the steps of this run alone; every task reaches it
            (`s3://…` too).
        verifiers: Tasks that compare; a cluster is compared by one of them.

    Raises:
        ConfigError: There is no task that compares, or the seed is none that datatrove takes.
    """

    def __init__(self, near: NearDuplicates, *, folder: str | Path, verifiers: int) -> None:
        if verifiers < 1:
            raise ConfigError(f"verifiers={verifiers} leaves nobody to compare. Set it to 1.")
        if not 0 <= near.seed < 2**32:
            raise ConfigError(
                f"seed={near.seed} of NearDuplicates is none that datatrove's signatures take. Set"
                f" it from 0 to {2**32 - 1:,}."
            )
        self.near = near
        self.folder = EngineFolder(folder)
        self.verifiers = verifiers

    @property
    def n_buckets(self) -> int:
        """How many tasks the buckets take, or a multiple of it."""
        return self.near.banding.bands

    def signatures(self) -> ShingleSignatures:
        """Makes datatrove's first step, after a reader."""
        return ShingleSignatures(output=self._in("signatures"), near=self.near)

    def buckets(self) -> MinhashDedupBuckets:
        """Makes datatrove's second step: `n_buckets` tasks, or a multiple of it."""
        return MinhashDedupBuckets(
            str(self._in("signatures")), str(self._in("pairs")), config=minhash_config(self.near)
        )

    def clusters(self) -> MinhashDedupCluster:
        """Makes datatrove's third step: one task. What it would remove is left alone."""
        return MinhashDedupCluster(
            str(self._in("pairs")),
            str(self._in("clusters")),
            config=minhash_config(self.near),
            save_cluster_id=True,
        )

    def candidates(self) -> CandidateShingles:
        """Makes the step that writes what is to be compared, after the reader of the first."""
        return CandidateShingles(
            clusters=self._in("clusters"),
            output=self._in("shingles"),
            shingling=Shingling.of(self.near),
            shards=self.verifiers,
        )

    def verification(self) -> Verification:
        """Makes the step that compares: `verifiers` tasks."""
        return Verification(
            pairs=self._in("pairs"),
            clusters=self._in("clusters"),
            shingles=self._in("shingles"),
            output=self._in("fallen"),
            threshold=self.near.threshold,
            bands=self.n_buckets,
            shards=self.verifiers,
        )

    def removal(
        self,
        *,
        books: str | Path,
        source_key: str = "source",
        exclusion_writer: DiskWriter | None = None,
    ) -> Removal:
        """Makes the step that drops, after the reader of the first and before a writer.

        Args:
            books: As of `DatatroveStages`.
            source_key: The key of a document's metadata that names its source in the books.
            exclusion_writer: A writer of datatrove, given the documents that are dropped. This step
                has no stages, so nothing is taken out of their texts: what holds personal data
                passes `DatatroveStages` with `Pii` first.
        """
        return Removal(
            fallen=self._in("fallen"),
            shards=self.verifiers,
            near=self.near,
            books=books,
            source_key=source_key,
            exclusion_writer=exclusion_writer,
        )

    def _in(self, name: str) -> EngineFolder:
        return self.folder.folder(name)
