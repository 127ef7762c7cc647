"""Shards or labelled rows in, step batches out.

Shape letters: B sequences, T tokens, S sequences of one optimizer step over all ranks.
"""

from roots.data.base import StepData
from roots.data.labelled_texts import LabelledTexts
from roots.data.order import permute, samples_at
from roots.data.parallel_texts import ParallelTexts
from roots.data.steps import Share, share_of
from roots.data.task_data import TaskData
from roots.data.token_corpus import TokenCorpus
from roots.data.windows import TokenSpan, Windows

__all__ = [
    "LabelledTexts",
    "ParallelTexts",
    "Share",
    "StepData",
    "TaskData",
    "TokenCorpus",
    "TokenSpan",
    "Windows",
    "permute",
    "samples_at",
    "share_of",
]
