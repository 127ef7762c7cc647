"""Shards or labelled rows in, step batches out.

Shape letters: B sequences, T tokens, S sequences of one optimizer step over all ranks.
"""

from roots.data.augment import Augment
from roots.data.back_translation import BackTranslation
from roots.data.base import StepData
from roots.data.chat_data import ChatData
from roots.data.conversations import Conversations
from roots.data.labelled_texts import LabelledTexts
from roots.data.masked_corpus import MaskedCorpus
from roots.data.mixture import Mixture, Phase
from roots.data.order import permute, samples_at
from roots.data.parallel_texts import ParallelTexts
from roots.data.preferences import Preferences
from roots.data.question_split import QuestionSplit
from roots.data.questions import Questions
from roots.data.relation_texts import RelationTexts, mark_relation
from roots.data.shard_data import ShardData
from roots.data.steps import Share, share_of
from roots.data.tagged_words import TaggedWords
from roots.data.task_data import TaskData
from roots.data.token_corpus import TokenCorpus
from roots.data.windows import TokenSpan, Windows

__all__ = [
    "Augment",
    "BackTranslation",
    "ChatData",
    "Conversations",
    "LabelledTexts",
    "MaskedCorpus",
    "Mixture",
    "ParallelTexts",
    "Phase",
    "Preferences",
    "QuestionSplit",
    "Questions",
    "RelationTexts",
    "ShardData",
    "Share",
    "StepData",
    "TaggedWords",
    "TaskData",
    "TokenCorpus",
    "TokenSpan",
    "Windows",
    "mark_relation",
    "permute",
    "samples_at",
    "share_of",
]
