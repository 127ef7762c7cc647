"""LightningModules: one thin file per objective on one base class.

Shape letters: B sequences, T tokens, V vocabulary, D model width.
"""

from roots.modules.base import LanguageModule, StepReport
from roots.modules.causal_lm import CausalLM

__all__ = ["CausalLM", "LanguageModule", "StepReport"]
