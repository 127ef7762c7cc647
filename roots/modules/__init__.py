"""LightningModules: one thin file per objective on one base class.

Shape letters: B sequences, T tokens, V vocabulary, D model width.
"""

from roots.modules.base import StepModule
from roots.modules.causal_lm import CausalLM
from roots.modules.companion import Companion
from roots.modules.distiller import Distiller
from roots.modules.language import LanguageModule
from roots.modules.masked_lm import MaskedLM
from roots.modules.preference_lm import PreferenceLM
from roots.modules.question_answering import QuestionAnswering
from roots.modules.seq2seq import Seq2Seq
from roots.modules.sequence_classifier import SequenceClassifier
from roots.modules.step_report import StepReport
from roots.modules.task import TaskModule
from roots.modules.token_classifier import TokenClassifier

__all__ = [
    "CausalLM",
    "Companion",
    "Distiller",
    "LanguageModule",
    "MaskedLM",
    "PreferenceLM",
    "QuestionAnswering",
    "Seq2Seq",
    "SequenceClassifier",
    "StepModule",
    "StepReport",
    "TaskModule",
    "TokenClassifier",
]
