"""What a task wants on top of a body: which of transformers' auto classes, with which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PretrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto import modeling_auto

from roots.errors import ConfigError

_KINDS: dict[str, tuple[Any, Mapping[Any, Any], str]] = {
    "causal language model": (
        AutoModelForCausalLM,
        modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING,
        "llama, gpt2 or qwen3",
    ),
    "masked language model": (
        AutoModelForMaskedLM,
        modeling_auto.MODEL_FOR_MASKED_LM_MAPPING,
        "bert, roberta or modernbert",
    ),
    "sequence classifier": (
        AutoModelForSequenceClassification,
        modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
        "bert, roberta or modernbert",
    ),
    "token classifier": (
        AutoModelForTokenClassification,
        modeling_auto.MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING,
        "bert, roberta or modernbert",
    ),
    "reader of questions": (
        AutoModelForQuestionAnswering,
        modeling_auto.MODEL_FOR_QUESTION_ANSWERING_MAPPING,
        "bert, roberta or modernbert",
    ),
    "sequence-to-sequence model": (
        AutoModelForSeq2SeqLM,
        modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING,
        "t5, bart or marian",
    ),
}


@dataclass(frozen=True)
class Head:
    """A kind of head, and what it adds to a network's configuration.

    Args:
        kind: A name of `_KINDS`; it reads well behind "a".
        config: Keys that the task sets in the network's configuration: `num_labels`, `id2label`, …

    Raises:
        KeyError: There is no such kind.
    """

    kind: str
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_causal(self) -> bool:
        """Whether each position predicts what follows it, and may not see that."""
        return self.kind == "causal language model"

    @property
    def decodes(self) -> bool:
        """Whether a decoder writes what an encoder has read."""
        return self.kind == "sequence-to-sequence model"

    @property
    def predicts_tokens(self) -> bool:
        """Whether its logits are over the vocabulary."""
        return self.kind.endswith("model")

    @property
    def is_new(self) -> bool:
        """Whether the head may start from random weights, as a fine-tuning's does."""
        return self.kind in ("sequence classifier", "token classifier", "reader of questions")

    @property
    def auto(self) -> Any:
        """The auto class of transformers."""
        return _KINDS[self.kind][0]

    def network_class(self, config: PretrainedConfig) -> Any:
        """Gives the class that transformers has for a configuration; None where it has none."""
        return _KINDS[self.kind][1].get(type(config), None)

    def check(self, family: type[PretrainedConfig]) -> None:
        """Raises ConfigError when transformers has no such head for an architecture."""
        _, families, some = _KINDS[self.kind]
        if family not in families:
            raise ConfigError(
                f"model_type {family.model_type!r} is no {self.kind} in transformers."
                f" Take one that is, such as {some}."
            )

    def empty(self, config: PretrainedConfig, **settings: Any) -> PreTrainedModel:
        """Makes the network on the meta device, without memory for its weights."""
        with torch.device("meta"):
            network: PreTrainedModel = self.auto.from_config(config, **settings)
        return network


CAUSAL_LM = Head("causal language model")
MASKED_LM = Head("masked language model")
SEQ2SEQ = Head("sequence-to-sequence model")
