"""What modules for labelled rows share: their own head, and metrics of what they say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from roots.batch import Score, TaskBatch
from roots.errors import ConfigError
from roots.modules.base import StepModule
from roots.networks import TaskObjective, TaskTrainable
from roots.networks.dropout import quicken_dropout
from roots.tokenizer import Framed


class Measure(Protocol):
    """Adds up what is measured of predictions; what `roots.metrics` offers."""

    def to(self, device: torch.device) -> Any:
        """Moves the sums."""

    def update(self, *rows: Any, **which: Any) -> None:
        """Adds predictions and labels of rows; those without a label count for nothing."""

    def values(self) -> dict[str, float]:
        """Gives what was measured over all rows of all ranks, by name."""

    def details(self) -> dict[str, Any]:
        """Gives what is no single number, over all rows of all ranks."""


@dataclass
class Tally:
    """What a validation has added up so far; no module, so that no checkpoint has it.

    Args:
        sums: Of the loss and of the labels, (2,).
        measure: The task's metrics.
        looks: What else is added up, for pictures.
    """

    sums: Tensor
    measure: Measure
    looks: Sequence[Measure] = ()


class TaskModule(StepModule):
    """Trains a network with a head for a task on labelled rows.

    A run file that names no optimizer or no schedule has those of BERT's authors.

    Source:
        Devlin et al., arXiv:1810.04805, appendix A; 6 % of warm-up are RoBERTa's (Liu et al.,
        arXiv:1907.11692, appendix C).
    """

    usual: ClassVar[Mapping[str, Any]] = {
        "optimizer": {
            "class_path": "roots.optim.AdamW",
            "init_args": {"learning_rate": 5e-5, "weight_decay": 0.01, "beta2": 0.999},
        },
        "schedule": {
            "class_path": "roots.optim.WarmupLinear",
            "init_args": {"warmup_fraction": 0.06},
        },
    }
    _tally: Tally | None = None

    @abstractmethod
    def objective(self) -> TaskObjective:
        """Makes the loss."""

    @abstractmethod
    def measure(self) -> Measure:
        """Makes what measures predictions."""

    def looks(self) -> Sequence[Measure]:
        """Makes what is added up for pictures, beside what is measured."""
        return ()

    def look(self, looks: Sequence[Measure], score: Score, batch: TaskBatch) -> None:
        """Adds a micro-batch to what is added up for pictures."""

    def worded(self, details: dict[str, Any]) -> dict[str, Any]:
        """Makes of the details what a person can read."""
        return details

    def trainable_of(self, network: PreTrainedModel) -> TaskTrainable:
        """Puts the loss behind the network's own forward."""
        return TaskTrainable(network, self.objective())

    def make_ready(self, data: Any) -> None:
        """Makes dropout quick on a CPU, and remarks it where padding is read."""
        del data
        self.remark_padding()
        quicken_dropout(self.trainable.network, self._strategy.root_device)

    # -- validation ----------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Starts the sums."""
        looks = [look.to(self.device) for look in self.looks()]
        self._tally = Tally(self.start_sums(2), self.measure().to(self.device), looks)

    def validation_step(self, batch: TaskBatch, _index: int) -> None:
        """Adds a batch to the sums of loss and labels, and to what is measured."""
        tally = self._tally
        assert tally is not None
        for part, score in self.score_without_training(batch):
            tally.sums += torch.stack([s.to(tally.sums) for s in (score.loss, score.n_labels)])
            self.add(tally.measure, score, part)  # type: ignore[arg-type]
            self.look(tally.looks, score, part)  # type: ignore[arg-type]

    def add(self, measure: Measure, score: Score, batch: TaskBatch) -> None:
        """Adds what the network says of a micro-batch to what is measured."""
        measure.update(score.outputs, batch.labels)

    def on_validation_epoch_end(self) -> None:
        """Adds the ranks up, divides once, and reports."""
        assert self._tally is not None
        loss, count = self._strategy.sum_of_shares(self._tally.sums).tolist()
        measured = self._tally.measure.values()
        if count:
            parts = self.loss_parts.per_label(count, self._strategy)
            metrics = {"loss": loss / count, **parts, **measured}
            self.report({f"{self.stage}/{name}": value for name, value in metrics.items()})
            self._keep_details(self._tally)

    def _keep_details(self, tally: Tally) -> None:
        """Adds the details of all ranks up, and hands them to the trainer, whose run keeps them."""
        details: dict[str, Any] = {}
        for measure in (tally.measure, *tally.looks):
            details |= measure.details()
        self.trainer.details = self.worded(details)  # type: ignore[attr-defined]

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    # -- predictions ---------------------------------------------------------------------------

    def predict_step(self, batch: TaskBatch, _index: int) -> list[dict[str, Any]]:
        """Says of each row what the network thinks of it."""
        rows: list[dict[str, Any]] = []
        for part, score in self.score_without_training(batch):
            said = self.said(score.outputs, part)  # type: ignore[arg-type]
            samples = part.samples.tolist()
            rows += [
                {"sample": sample, **words}
                for sample, words in zip(samples, said, strict=True)
                if sample >= 0
            ]
        return rows

    @torch.no_grad()
    def predict(self, texts: Sequence[Any]) -> list[dict[str, Any]]:
        """Says of each text what the network thinks of it.

        Args:
            texts: What the task reads: texts, pairs of texts, ….

        Raises:
            ConfigError: The module has no weights yet or no tokenizer, or `texts` is one text.
        """
        check_several(texts)
        if self.trainable is None:
            raise ConfigError(
                "The module has no weights yet. Train it (roots.compose(…).fit()), or open a run"
                " (roots.load(…))."
            )
        if self.tokenizer is None:
            raise ConfigError(
                f"This {type(self).__name__} has no tokenizer: that lies beside the weights, and"
                " load_from_checkpoint opens them alone. Open the run: roots.load(RUN)."
            )
        if not texts:
            return []
        batch = self.batch_of(texts)
        mode = self.trainable.training
        self.trainable.eval()
        try:
            rows = self.predict_step(batch.to(next(self.trainable.parameters()).device), 0)
        finally:
            self.trainable.train(mode)
        return [_without_number(row) for row in sorted(rows, key=lambda row: row["sample"])]

    @abstractmethod
    def batch_of(self, texts: Sequence[Any]) -> TaskBatch:
        """Makes an unlabelled batch of texts, the longest first; `samples` number them."""

    @abstractmethod
    def said(self, outputs: Any, batch: TaskBatch) -> Iterator[dict[str, Any]]:
        """Words what the network says of each row of a micro-batch."""


def check_several(texts: Sequence[Any]) -> None:
    """Raises ConfigError for one text where several are asked for: its letters would be texts."""
    if isinstance(texts, str):
        raise ConfigError(
            f"predict reads a list of texts, and {texts[:60]!r} is a text. Put it into one:"
            " predict([text])."
        )


def framed_batch(framed: Sequence[Framed], pad_id: int, labels: Tensor) -> TaskBatch:
    """Pads framed texts into a batch, the longest first.

    Args:
        framed: The texts.
        pad_id: The token that fills up.
        labels: Those of each text, (B, ...).
    """
    lengths = torch.tensor([len(text.ids) for text in framed])
    order = lengths.argsort(descending=True, stable=True)
    fields = {
        "input_ids": ([f.ids for f in framed], pad_id),
        "token_type_ids": ([f.type_ids for f in framed], 0),
        "attention_mask": ([[1] * len(f.ids) for f in framed], 0),
    }
    inputs = {
        name: pad_sequence(
            [torch.tensor(rows[n]) for n in order.tolist()], batch_first=True, padding_value=filler
        )
        for name, (rows, filler) in fields.items()
    }
    return TaskBatch(
        inputs=inputs, labels=labels[order], lengths=lengths[order], samples=order, step=0
    )


def _without_number(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "sample"}
