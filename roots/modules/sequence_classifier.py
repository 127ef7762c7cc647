"""Classes, several classes or a value for a text or a pair of texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from roots.batch import IGNORE, Score, TaskBatch, labelled
from roots.errors import DataError
from roots.metrics import Classification, MultiLabel, Regression, Residuals
from roots.modules.classifier import Classifier
from roots.modules.distiller import Distiller
from roots.modules.task import Measure, framed_batch
from roots.networks import Head, NetworkBuilder, TaskObjective, TaskTrainable
from roots.objectives import ManyClasses, Values
from roots.optim import OptimizerBuilder, Schedule
from roots.records import Labels
from roots.tokenizer import Framing

PAIRS = "text_pairs"
"""The key of config.json and of a checkpoint that says whether pairs of texts were learned."""


class SequenceClassifier(Classifier):
    """Learns what a text, or a pair of texts, is: one class, several classes, or a value.

    Which of the three, the data say; their labels are saved with the network.

    Args:
        network: Builds the network, once the strategy is ready for it.
        optimizer: Builds the optimizer; 2e-5 to 5e-5 are usual learning rates. A run file that
            names none has AdamW at 5e-5, with a weight decay of 0.01.
        schedule: The learning rate of each step, as a fraction of the optimizer's. A run file that
            names none has a linear warm-up of 6 % of the steps, and a linear fall.
        micro_batch_size: Rows per device and forward pass; it decides memory and speed, and leaves
            the numbers as they are. Fewer rows mean more passes per step. `auto` takes the most
            that fit into memory on every rank, and writes the number into config.yaml.
        clip_norm: Largest norm of the gradient; `.inf` clips nothing.
        label_smoothing: Share of the target's probability that is spread evenly over the classes.
        class_weights: Weight of each class, in the order of the labels; empty weighs all alike.
        balance: Weigh each class by how rare it is, instead of by `class_weights`.
        distiller: Learn from a teacher as well: `{class_path: roots.modules.Distiller, init_args:
            {teacher: runs/large/0001}}`.

    Raises:
        ConfigError: A number that cannot work, or `class_weights` beside `balance`.
    """

    learns: ClassVar[str] = "the class of a text"

    def __init__(
        self,
        *,
        network: NetworkBuilder,
        optimizer: OptimizerBuilder,
        schedule: Schedule,
        micro_batch_size: int | str = 32,
        clip_norm: float = 1.0,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] = (),
        balance: bool = False,
        distiller: Distiller | None = None,
    ) -> None:
        super().__init__(
            network=network,
            optimizer=optimizer,
            schedule=schedule,
            micro_batch_size=micro_batch_size,
            clip_norm=clip_norm,
            label_smoothing=label_smoothing,
            class_weights=class_weights,
            balance=balance,
            distiller=distiller,
        )
        self.pairs: bool | None = None
        """Whether it learned pairs of texts; None where a checkpoint does not say."""

    def learn_of(self, data: Any) -> None:
        """Takes what a classifier takes, and whether texts are pairs."""
        super().learn_of(data)
        self.pairs = getattr(data, "pairs", None)  # data of one's own need not say

    def trainable_of(self, network: PreTrainedModel) -> TaskTrainable:
        """Puts the loss behind the network's own forward; every config.json says what it read."""
        setattr(network.config, PAIRS, self.pairs)
        return super().trainable_of(network)

    @property
    def head(self) -> Head:
        """A projection of the whole text, with the labels in the configuration."""
        return Head("sequence classifier", self.labels.config)

    def objective(self) -> TaskObjective:
        """Makes the loss that suits the labels."""
        if self.labels.kind == "value":
            return Values()
        if self.labels.kind == "many":
            return ManyClasses()
        return self.classes()

    def measure(self) -> Measure:
        """Makes the metrics that the field reports for such labels."""
        if self.labels.kind == "value":
            return Regression()
        if self.labels.kind == "many":
            return MultiLabel(names=self.labels.names)
        return Classification(names=self.labels.names)

    def add(self, measure: Measure, score: Score, batch: TaskBatch) -> None:
        """Adds a micro-batch to what is measured; rows without a label are left out."""
        if self.labels.kind == "one":
            measure.update(score.outputs, batch.labels)
        elif self.labels.kind == "many":
            measure.update(score.outputs, batch.labels.nan_to_num(IGNORE).long())
        else:
            measure.update(score.outputs, batch.labels, keep=labelled(batch.labels))

    def looks(self) -> Sequence[Measure]:
        """Makes what tells how sure it may be and what it got wrong, or how far values are off."""
        return [Residuals()] if self.labels.kind == "value" else super().looks()

    def look(self, looks: Sequence[Measure], score: Score, batch: TaskBatch) -> None:
        """Adds a micro-batch to them."""
        if self.labels.kind != "value":
            super().look(looks, score, batch)
            return
        for look in looks:
            look.update(score.outputs, batch.labels, batch.samples, keep=labelled(batch.labels))

    def batch_of(self, texts: Sequence[str | tuple[str, str]]) -> TaskBatch:
        """Frames texts, or pairs of texts.

        Raises:
            DataError: A text without a token, one text where pairs were learned, or a pair where
                single texts were.
        """
        assert self.tokenizer is not None
        self._check_as_learned(texts)
        framed = Framing(self.tokenizer, max_tokens=self.seq_len).frame(texts)
        for number, text in enumerate(framed):
            if all(of is None for of in text.sequence_ids):
                raise DataError(
                    f"Text {number} ({texts[number]!r}) has no token. Fill it in or leave it out."
                )
        n_rows, n_names = len(framed), len(self.labels.names)
        nothing = {
            "one": torch.full((n_rows,), IGNORE),
            "many": torch.full((n_rows, n_names), torch.nan),
            "value": torch.full((n_rows,), torch.nan),
        }
        return framed_batch(framed, self.tokenizer.pad_id, nothing[self.labels.kind])

    def said(self, outputs: Tensor, batch: TaskBatch) -> Iterator[dict[str, Any]]:
        """Gives the label and the probability of each, or the value."""
        del batch
        return iter(_said(outputs.float().cpu(), self.labels))

    # -- checkpoints ---------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds whether texts are pairs."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[PAIRS] = self.pairs

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes whether texts are pairs."""
        self.pairs = checkpoint.get(PAIRS, self.pairs)
        super().on_load_checkpoint(checkpoint)

    # -- how -----------------------------------------------------------------------------------

    def _check_as_learned(self, texts: Sequence[str | tuple[str, str]]) -> None:
        """Raises DataError for one text where pairs were learned, and the other way round."""
        for number, text in enumerate(texts):
            if isinstance(text, str) is self.pairs:
                is_, learned = ("one text", "pairs") if self.pairs else ("a pair", "single texts")
                raise DataError(
                    f"Text {number} ({text!r}) is {is_}, and this network learned {learned}. Give"
                    f" {'(text, text_pair)' if self.pairs else 'one text'} for each row."
                )


def _said(outputs: Tensor, labels: Labels) -> list[dict[str, Any]]:
    if labels.kind == "value":
        return [{"value": value} for value in outputs.tolist()]
    many = labels.kind == "many"
    probabilities = torch.sigmoid(outputs) if many else outputs.softmax(-1)  # B C
    rows = []
    for row, above in zip(probabilities.tolist(), (outputs > 0).tolist(), strict=True):
        by_name = dict(zip(labels.names, row, strict=True))
        chosen = list(compress(labels.names, above))  # as `MultiLabel` counts them
        best = max(by_name, key=lambda name: by_name[name])
        rows.append({"label": chosen if many else best, "probabilities": by_name})
    return rows
