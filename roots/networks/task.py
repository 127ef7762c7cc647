"""A network with a head for a task, and the loss of what it says, in one forward pass."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from roots.batch import Score, TaskBatch
from roots.errors import ConfigError
from roots.networks.root import Root

TaskObjective = Callable[[Any, Tensor], Score]
"""Scores a network's output against labels; what `roots.objectives` offers for tasks."""


class TaskTrainable(Root):
    """Runs a network's own forward, then scores it: the module that strategies wrap.

    What it does not read is left out: DistilBERT has no `token_type_ids`, and GPT-2 takes them for
    tokens, whose embeddings it adds.

    Args:
        network: A `transformers` network with a head.
        objective: Scores its output against the labels.

    Raises:
        ConfigError: The network would read padding (XLNet).
    """

    own_forward_because = ""

    def __init__(self, network: PreTrainedModel, objective: TaskObjective) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        _check_reads_no_padding(network)
        self._reads = set(inspect.signature(network.forward).parameters)
        if not _tells_texts_apart(network.config):
            self._reads -= {"token_type_ids"}
        if getattr(network.config, "use_cache", False):
            network.config.use_cache = False

    def forward(self, batch: TaskBatch) -> Score:
        """Scores one micro-batch: summed loss, number of labels, what the network says."""
        score: Score = self.scoring(batch)(self.output_of(batch), batch.labels)
        return score

    def output_of(self, batch: TaskBatch) -> Any:
        """Runs the network on one micro-batch."""
        inputs = {name: v for name, v in inputs_of(batch).items() if name in self._reads}
        return self.network(**inputs)

    def check(self) -> str:
        """Finds nothing to decide: the network's own forward is run."""
        return ""


class SpanTrainable(TaskTrainable):
    """Runs a reader of questions, whose answers are places in a row.

    transformers' own loss lets the places that fill a row up take part in its softmax, so that the
    loss of a row depends on the longest one beside it. Here they have no probability: a row is
    scored as if it were alone, whatever it is put together with.
    """

    def output_of(self, batch: TaskBatch) -> Any:
        """Runs the network, and takes the places behind each row's end out of its logits."""
        output = super().output_of(batch)
        filled = batch.inputs["attention_mask"] == 0  # B T
        output.start_logits = output.start_logits.masked_fill(filled, -math.inf)
        output.end_logits = output.end_logits.masked_fill(filled, -math.inf)
        return output


def inputs_of(batch: TaskBatch) -> Mapping[str, Tensor]:
    """Gives what the network reads, without an attention mask where no row is filled up.

    Given one, transformers looks whether it hides anything, and for that the host waits for the
    device; the lengths are on the host.
    """
    if "attention_mask" not in batch.inputs or bool((batch.lengths != batch.lengths[0]).any()):
        return batch.inputs
    return {name: value for name, value in batch.inputs.items() if name != "attention_mask"}


def _check_reads_no_padding(network: PreTrainedModel) -> None:
    """Refuses a head that reads the last place of a row, whatever stands there (XLNet)."""
    if hasattr(network, "sequence_summary") and network.config.summary_type == "last":
        raise ConfigError(
            f"{type(network).__name__} reads the last place of each row, which is padding where a"
            " longer row is beside it: what it says of a text would depend on the others. Take"
            " another network, such as a BERT or a Llama."
        )


def _tells_texts_apart(config: PretrainedConfig) -> bool:
    """Tells whether a network has embeddings of its own for which text of a pair a token is of."""
    return hasattr(config, "type_vocab_size") or config.model_type == "xlnet"
