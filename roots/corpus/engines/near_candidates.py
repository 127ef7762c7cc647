"""The shingles of documents that datatrove put into a cluster, for those who compare them."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np

from roots.corpus.engines.candidate_files import Candidate
from roots.corpus.engines.datatrove_parts import DocumentsPipeline, PipelineStep
from roots.corpus.engines.engine_folder import EngineFolder
from roots.corpus.engines.near_signatures import Shingling
from roots.errors import DataError

CLUSTERS = ".clusters"
"""How datatrove names its file per task: pairs of a document's number and its cluster's."""


class CandidateShingles(PipelineStep):
    """Writes the shingles of a task's candidates, those of a cluster all to one shard.

    Args:
        clusters: What datatrove's cluster step wrote.
        output: For a folder per shard, with a file per task.
        shingling: That of the signatures.
        shards: How many there are.
    """

    type = "Dedup"
    name = "roots shingles of candidates"

    def __init__(
        self, *, clusters: EngineFolder, output: EngineFolder, shingling: Shingling, shards: int
    ) -> None:
        super().__init__()
        self.clusters = clusters
        self.output = output
        self.shingling = shingling
        self.shards = shards

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> None:
        """Reads the documents that the signatures were made of.

        Raises:
            DataError: They are others.
        """
        wanted = self._clusters_of(rank, world_size)
        left = set(wanted)
        with ExitStack() as stack:
            files = [
                stack.enter_context(self.output.writing(f"{shard:05d}/{rank:05d}.bin"))
                for shard in range(self.shards)
            ]
            for number, document in enumerate(data or ()):
                self.stat_update("total")
                if number not in wanted:
                    continue
                with self.track_time():
                    shingles = self.shingling(document.text)
                    found = Candidate(number, str(document.id), shingles)
                    found.write(files[wanted[number] % self.shards])
                self.stat_update("candidates")
                left.discard(number)
            if left:
                raise DataError(
                    f"Task {rank} has no document {min(left):,}, of which a signature was made."
                    " Give this step the same reader and as many tasks as the signatures had."
                )

    def _clusters_of(self, rank: int, world_size: int) -> dict[int, int]:
        """Reads which documents of a task are in which cluster."""
        tasks = cluster_ranks(self.clusters)
        if tasks and tasks[-1] >= world_size:
            raise DataError(
                f"{self.clusters} has clusters with documents of task {tasks[-1]}, and there are"
                f" {world_size:,} tasks now. Run with as many tasks as the signatures had."
            )
        if rank not in tasks:
            return {}
        with self.clusters.open(f"{rank:06d}{CLUSTERS}") as file:
            pairs = np.frombuffer(file.read(), "<u4").reshape(-1, 2)
        return dict(pairs.tolist())


def cluster_ranks(clusters: EngineFolder) -> list[int]:
    """Lists the tasks that have documents in clusters, in order."""
    return sorted(int(name.removesuffix(CLUSTERS)) for name in clusters.names(CLUSTERS))
