"""What a module asks of its data: what they ask for, and the share of a step that is due."""

from __future__ import annotations

from typing import Any

from roots.batch import StepBatch
from roots.errors import ConfigError

_FITS = {
    "next tokens": ("CausalLM", "TokenCorpus"),
    "hidden tokens": ("MaskedLM", "MaskedCorpus"),
    "the class of a text": ("SequenceClassifier", "LabelledTexts"),
    "the tags of words": ("TokenClassifier", "TaggedWords"),
    "answers in a text": ("QuestionAnswering", "Questions"),
    "the target of a source": ("Seq2Seq", "ParallelTexts"),
    "which answer is preferred": ("PreferenceLM", "Preferences"),
}
"""What is asked and learned: the module that learns it, and data that ask for it."""


def check_asked(module: Any, data: Any) -> None:
    """Raises ConfigError when data ask for something else than a module learns."""
    if not (data.asks and module.learns) or data.asks == module.learns:
        return
    unlike = (
        f"{type(data).__name__} asks for {data.asks}, and {type(module).__name__} learns"
        f" {module.learns}."
    )
    if not _FITS.keys() >= {data.asks, module.learns}:
        raise ConfigError(
            f"{unlike} Let `asks` of the one and `learns` of the other say the same, or leave one"
            " of them empty."
        )
    raise ConfigError(
        f"{unlike} Set model.class_path to roots.modules.{_FITS[data.asks][0]}, or"
        f" data.class_path to roots.data.{_FITS[module.learns][1]}."
    )


def check_batch(batch: Any) -> None:
    """Raises ConfigError when a loader gives something else than step batches."""
    if not isinstance(batch, StepBatch):
        raise ConfigError(
            f"A loader of the data gives a {type(batch).__name__}, and what is read is a StepBatch:"
            " one rank's share of the rows of an optimizer step. Let each item of its dataset be"
            " one, such as roots.batch.TokenBatch."
        )


def check_step(batch: Any, trainer: Any) -> None:
    """Raises ConfigError when a batch is not this rank's share of the step that is due."""
    check_batch(batch)
    if batch.step != trainer.global_step:
        raise ConfigError(
            f"{type(trainer.datamodule).__name__} gives the rows of step {batch.step:,}, counted"
            f" from 0, where those of step {trainer.global_step:,} are due. Let its"
            " train_dataloader return self.training_loader(dataset), which asks a dataset for item"
            " n as the share of step n: one for each step of the run, from where it goes on."
        )
