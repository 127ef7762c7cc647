"""Exact Jaccard over the shingles decides which candidates fall."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.clusters import Clusters
from roots.corpus.duplicates.groups import ALONE, ENDS, Groups, number_groups
from roots.corpus.duplicates.kept import KeptDocuments
from roots.corpus.duplicates.shingles import Hashes
from roots.corpus.engines.candidate_files import Candidate, candidates, numbers
from roots.corpus.engines.candidate_groups import place_of, write_keys
from roots.corpus.engines.datatrove_parts import DocumentsPipeline, PipelineStep
from roots.corpus.engines.engine_folder import EngineFolder
from roots.corpus.engines.near_candidates import cluster_ranks
from roots.corpus.noted_parts import Parts
from roots.errors import ConfigError, DataError
from roots.shards.hashed_file import HashedFile


class Verification(PipelineStep):
    """Compares the candidates of a shard; writes which document falls for which, by task.

    Documents are decided in the order of tasks, and within a task in that of its reader, and one
    falls only for a kept one: the rule of `NearDuplicates`.

    Args:
        pairs: What datatrove's bucket step wrote.
        clusters: What its cluster step wrote.
        shingles: What `CandidateShingles` wrote.
        output: For a folder per shard, with a file of JSON lines per task.
        threshold: The least Jaccard similarity of a near duplicate, above 0 to 1.
        bands: Buckets.
        shards: How many there are, each a task of this step.
    """

    type = "Dedup"
    name = "roots verification of near duplicates"

    def __init__(
        self,
        *,
        pairs: EngineFolder,
        clusters: EngineFolder,
        shingles: EngineFolder,
        output: EngineFolder,
        threshold: float,
        bands: int,
        shards: int,
    ) -> None:
        super().__init__()
        self.pairs = pairs
        self.clusters = clusters
        self.shingles = shingles
        self.output = output
        self.threshold = threshold
        self.bands = bands
        self.shards = shards

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> None:
        """Compares the candidates of the shard `rank`.

        Raises:
            ConfigError: There is not one task per shard.
            DataError: Shingles are missing, or were written for more shards.
        """
        del data
        if world_size != self.shards:
            raise ConfigError(
                f"There are {world_size:,} tasks for {self.shards:,} shards. Run this step with"
                f" tasks={self.shards}, which is `verifiers`."
            )
        shards = filter(str.isdigit, self.shingles.names(""))
        if above := [name for name in shards if int(name) >= self.shards]:
            raise other_shards(self.shingles, above, self.shards, "candidates")
        tasks = self._tasks(rank)
        with self.track_time("task"), TemporaryDirectory(prefix="roots-near-") as name:
            folder = Path(name)
            keys = write_keys(self.pairs, self._places(rank, tasks), self.bands, folder)
            with (
                Parts(folder, "groups", [ENDS], keeps=False) as parts,
                closing(HashedFile(folder / "shingles")) as shingles,
            ):
                groups = number_groups(keys, parts)
                kept = KeptDocuments(
                    groups=groups, shingles=shingles, folder=folder, threshold=self.threshold
                )
                with closing(kept), closing(Clusters(folder / "ids")) as clusters:
                    dropped = self._decide(rank, tasks, groups, kept, clusters)
        with self.output.writing(f"{rank:05d}.json", "w") as file:
            json.dump({str(task): n for task, n in sorted(dropped.items())}, file)

    def _tasks(self, shard: int) -> list[int]:
        """Lists the tasks whose candidates there are, in order."""
        folder = self.shingles.folder(f"{shard:05d}")
        found = sorted(int(name.removesuffix(".bin")) for name in folder.names(".bin"))
        missing = sorted(set(cluster_ranks(self.clusters)) - set(found))
        if missing:
            raise DataError(
                f"{folder} lacks the shingles of {len(missing):,} tasks: the first is"
                f" {missing[0]}. Run the step `candidates` to its end before this one."
            )
        return found

    def _places(self, shard: int, tasks: list[int]) -> Hashes:
        places = [np.empty(0, np.uint64)]
        for task in tasks:
            with self._open(shard, task) as file:
                places.append(place_of(task, np.fromiter(numbers(file), np.uint64)))
        return np.concatenate(places)

    def _decide(
        self,
        shard: int,
        tasks: list[int],
        groups: Groups,
        kept: KeptDocuments,
        clusters: Clusters,
    ) -> Counter[int]:
        dropped: Counter[int] = Counter()
        places = count()
        for task in tasks:
            name = f"{shard:05d}/{task:05d}.jsonl"
            with self._open(shard, task) as file, self.output.writing(name, "w") as lines:
                for candidate in candidates(file):
                    self.stat_update("candidates")
                    place = next(places)
                    mine = groups.of(place, place + 1)[0]
                    fallen = _fallen(place, candidate, mine, kept, clusters)
                    if fallen is not None:
                        lines.write(json.dumps(fallen, ensure_ascii=False) + "\n")
                        dropped[task] += 1
                        self.stat_update("near_duplicates")
        return dropped

    def _open(self, shard: int, task: int) -> IO[bytes]:
        return self.shingles.open(f"{shard:05d}/{task:05d}.bin")


def other_shards(folder: EngineFolder, above: list[str], shards: int, step: str) -> DataError:
    """Says that a step ran for more shards, which would be overlooked.

    Args:
        folder: What it wrote.
        above: The names of the shards that are too many.
        shards: How many there are now.
        step: Its name.
    """
    before = 1 + max(int(name.removesuffix(".json")) for name in above)
    return DataError(
        f"{folder} was written with verifiers={before}, and there are {shards} now. Set"
        f" verifiers={before}, or remove the folder and run the step `{step}` again."
    )


def _fallen(
    place: int,
    candidate: Candidate,
    groups: NDArray[np.int64],
    kept: KeptDocuments,
    clusters: Clusters,
) -> dict[str, Any] | None:
    """Looks for a kept document that the candidate is like; keeps it where there is none."""
    if (groups == ALONE).all():
        return None
    clusters.remember(place, candidate.id)
    match = kept.match(groups, candidate.shingles)
    if match is None:
        kept.keep(place, groups, candidate.shingles)
        return None
    return {
        "number": candidate.number,
        "id": candidate.id,
        "kept": clusters.id_of(match[0]),
        "jaccard": round(match[1], 4),
    }
