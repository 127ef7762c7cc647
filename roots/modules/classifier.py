"""What classifiers share: the classes, how much each weighs, and how sure the target is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from roots.batch import Score, TaskBatch
from roots.errors import ConfigError
from roots.metrics import Calibration, Mistakes
from roots.modules.class_details import worded
from roots.modules.distiller import Distiller
from roots.modules.task import Measure, TaskModule
from roots.networks import NetworkBuilder
from roots.objectives import Classes
from roots.optim import OptimizerBuilder, Schedule
from roots.records import Labels


class Classifier(TaskModule):
    """Learns which class a thing is of: a text, a word.

    Args:
        network: Builds the network, once the strategy is ready for it.
        optimizer: Builds the optimizer.
        schedule: The learning rate of each step, as a fraction of the optimizer's.
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

    def __init__(
        self,
        *,
        network: NetworkBuilder,
        optimizer: OptimizerBuilder,
        schedule: Schedule,
        micro_batch_size: int | str,
        clip_norm: float,
        label_smoothing: float,
        class_weights: Sequence[float],
        balance: bool,
        distiller: Distiller | None,
    ) -> None:
        super().__init__(
            network=network,
            optimizer=optimizer,
            schedule=schedule,
            micro_batch_size=micro_batch_size,
            clip_norm=clip_norm,
            distiller=distiller,
        )
        if balance and class_weights:
            raise ConfigError(
                f"balance weighs the classes by itself, and class_weights={list(class_weights)}"
                " weighs them too. Leave out one of the two."
            )
        self.label_smoothing = label_smoothing
        self.class_weights = list(class_weights)
        self.balance = balance
        self.labels = Labels(kind="one")
        self._weights: Sequence[float] = self.class_weights
        self.classes()  # raises for bad settings

    @property
    def settings(self) -> dict[str, Any]:
        """The plain form of the constructor's arguments."""
        mine = {
            "label_smoothing": self.label_smoothing,
            "class_weights": self.class_weights,
            "balance": self.balance,
        }
        return {**super().settings, **mine}

    def learn_of(self, data: Any) -> None:
        """Takes the vocabulary, the labels, and how often each occurs."""
        super().learn_of(data)
        self.labels = data.labels
        if self.labels.kind != "one" and (
            self.class_weights or self.balance or self.label_smoothing
        ):
            raise ConfigError(
                "label_smoothing, class_weights and balance are for one class per text; these data"
                f" have {'several' if self.labels.kind == 'many' else 'a value'}. Leave them out."
            )
        n_classes = len(self.labels.names)
        if self.class_weights and len(self.class_weights) != n_classes:
            raise ConfigError(
                f"class_weights has {len(self.class_weights)} weights and there are {n_classes}"
                f" classes: {', '.join(self.labels.names)}. Give one for each, in this order."
            )
        self.measure(), self.looks()  # raise for names that cannot be reported
        self._weights = data.balanced_weights() if self.balance else self.class_weights

    def classes(self) -> Classes:
        """Makes the loss of one class for each thing."""
        return Classes(label_smoothing=self.label_smoothing, weights=self._weights)

    def looks(self) -> Sequence[Measure]:
        """Makes what tells whether it is as sure as it is right, and what it got wrong."""
        return [Calibration(), Mistakes()] if self.labels.kind == "one" else []

    def look(self, looks: Sequence[Measure], score: Score, batch: TaskBatch) -> None:
        """Adds a micro-batch to them."""
        for look in looks:
            rows = [batch.samples] if isinstance(look, Mistakes) else []
            look.update(score.outputs, batch.labels, *rows)

    def worded(self, details: dict[str, Any]) -> dict[str, Any]:
        """Names the classes, and quotes the rows that it got wrong."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        return worded(details, self.labels.names, partial(data.quoted, self.stage))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds the labels."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["labels"] = {**asdict(self.labels), "names": list(self.labels.names)}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes the labels, then builds the network when it is loaded outside a run."""
        found = checkpoint["labels"]
        self.labels = Labels(kind=found["kind"], names=tuple(found["names"]))
        super().on_load_checkpoint(checkpoint)
