"""The same stages beyond one machine: as steps of datatrove's pipelines, and under Ray Data.

The engines are theirs. What is here gives them our stages, keeps our books on what becomes of every
document, and verifies near duplicates before one is dropped. datatrove (extra `datatrove`) is
imported when one of its steps is first asked for; Ray (extra `ray`) never is: what it is given is a
function of a table.

stage_list.py          StageList: the stages, in the hands of an engine that streams the documents
engine_folder.py       EngineFolder: a folder that all tasks reach, here or in an object store
rank_books.py          the books of every task of a run, written and added up: read_books
datatrove_parts.py     what is taken from datatrove, and the install line where it is missing
deciding_step.py       DecidingStep: a step of datatrove that decides about documents, with books
datatrove_stages.py    DatatroveStages: a list of stages as one step
near_steps.py          NearDuplicateSteps: near-duplicate removal in six pipelines
near_signatures.py     the first: our shingles in datatrove's MinHash signatures
near_candidates.py     the fourth: the shingles of the documents that share a bucket with others
candidate_files.py     the files that it writes
candidate_groups.py    which documents share which bucket, by datatrove's files of pairs
near_verification.py   the fifth: exact Jaccard decides which of them fall
near_removal.py        the last: takes out those that fell
ray_stages.py          RayStages: a list of stages for `map_batches`, its books, what is kept
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_OFFERED = {
    "DatatroveStages": "roots.corpus.engines.datatrove_stages",
    "NearDuplicateSteps": "roots.corpus.engines.near_steps",
    "RayStages": "roots.corpus.engines.ray_stages",
    "read_books": "roots.corpus.engines.rank_books",
}

__all__ = ["DatatroveStages", "NearDuplicateSteps", "RayStages", "read_books"]

if TYPE_CHECKING:
    from roots.corpus.engines.datatrove_stages import DatatroveStages
    from roots.corpus.engines.near_steps import NearDuplicateSteps
    from roots.corpus.engines.rank_books import read_books
    from roots.corpus.engines.ray_stages import RayStages


def __getattr__(name: str) -> Any:
    if name in _OFFERED:
        return getattr(import_module(_OFFERED[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_OFFERED])
