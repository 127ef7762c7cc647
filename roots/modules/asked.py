"""Which data a module learns of: those that ask for what it learns to say."""

from __future__ import annotations

from typing import Any

from roots.errors import ConfigError

_FITS = {
    "next tokens": ("CausalLM", "TokenCorpus"),
    "hidden tokens": ("MaskedLM", "MaskedCorpus"),
    "the class of a text": ("SequenceClassifier", "LabelledTexts"),
    "the tags of words": ("TokenClassifier", "TaggedWords"),
    "answers in a text": ("QuestionAnswering", "Questions"),
    "the target of a source": ("Seq2Seq", "ParallelTexts"),
}
"""What is asked and learned: the module that learns it, and data that ask for it."""


def check_asked(module: Any, data: Any) -> None:
    """Raises ConfigError when data ask for something else than a module learns."""
    if not (data.asks and module.learns) or data.asks == module.learns:
        return
    raise ConfigError(
        f"{type(data).__name__} asks for {data.asks}, and {type(module).__name__} learns"
        f" {module.learns}. Set model.class_path to roots.modules.{_FITS[data.asks][0]}, or"
        f" data.class_path to roots.data.{_FITS[module.learns][1]}."
    )
