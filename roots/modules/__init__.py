"""LightningModules: one thin file per objective on one base class.

Shape letters: B sequences, T tokens, V vocabulary, D model width.
"""

from roots.modules.base import StepModule
from roots.modules.causal_lm import CausalLM
from roots.modules.language import LanguageModule
from roots.modules.seq2seq import Seq2Seq
from roots.modules.sequence_classifier import SequenceClassifier
from roots.modules.step_report import StepReport
from roots.modules.task import TaskModule

__all__ = [
    "CausalLM",
    "LanguageModule",
    "Seq2Seq",
    "SequenceClassifier",
    "StepModule",
    "StepReport",
    "TaskModule",
]
