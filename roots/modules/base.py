"""The optimizer step by hand, shared by every objective.

One loader item is this rank's share of one optimizer step, so Lightning's batches, `global_step`,
`val_check_interval`, progress bar and `max_steps` all count optimizer steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from transformers import PreTrainedModel

from roots.batch import Score, StepBatch
from roots.modules.asked import check_asked, check_batch, check_step
from roots.modules.building import build_trainable, check_own, check_together, step_strategy
from roots.modules.companion import Companion
from roots.modules.distiller import Distiller
from roots.modules.judged import judged
from roots.modules.loss_parts import MISCOUNTED, LossParts, over_ranks, summed
from roots.modules.micro_batch import USUAL_ROWS, micro_batch_rows
from roots.modules.named_weights import check_weights, name_weights
from roots.modules.randomness import seed_micro_batch
from roots.modules.settings import check_clip_norm, check_rate, shared_settings, whole_settings
from roots.modules.step_report import StepReport
from roots.networks import Head, NetworkBuilder, reads_padding
from roots.optim import MasterWeights, OptimizerBuilder, Schedule, clipped, left_out
from roots.precision import StepPrecision
from roots.records import Vocabulary, class_path, rebuild
from roots.runs import redact_values
from roots.strategies import StepStrategy
from roots.tokenizer import Tokenizer


class StepModule(L.LightningModule, ABC):
    """Trains a network on step batches, whatever is learned from them.

    Args:
        network: Builds the network, once the strategy is ready for it.
        optimizer: Builds the optimizer.
        schedule: The learning rate of each step, as a fraction of the optimizer's.
        micro_batch_size: Rows per device and forward pass; it decides memory and speed, and leaves
            the numbers as they are. Fewer rows mean more passes per step. `auto` takes the most
            that fit into memory on every rank, and writes the number into config.yaml.
        clip_norm: Largest norm of the gradient; `.inf` clips nothing.
        distiller: Learn from a teacher as well.

    Raises:
        ConfigError: `micro_batch_size` or `clip_norm` is not positive.
    """

    usual: ClassVar[Mapping[str, Any]] = {}
    """Arguments that a run file may leave out, as one would say them."""

    learns: ClassVar[str] = ""
    """What of a row it learns to say; data that ask for something else are refused."""

    causal = False
    """Whether a position sees only what is before it."""

    def __init__(
        self,
        *,
        network: NetworkBuilder,
        optimizer: OptimizerBuilder,
        schedule: Schedule,
        micro_batch_size: int | str = 8,
        clip_norm: float = 1.0,
        distiller: Distiller | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        rows = micro_batch_rows(micro_batch_size)
        check_clip_norm(clip_norm)
        # builders are no modules, and their names are free for what is built of them
        self.builder = rebuild(network, NetworkBuilder)  # type: ignore[type-abstract]
        self.optimizer_builder = rebuild(optimizer, OptimizerBuilder)  # type: ignore[type-abstract]
        check_rate(self.optimizer_builder)
        self.schedule = rebuild(schedule, Schedule)  # type: ignore[type-abstract]
        self.micro_batch_size = rows or USUAL_ROWS
        self.seeks_rows = not rows  # whether a run has still to find out how many rows fit
        self.clip_norm = clip_norm
        self.distiller = None if distiller is None else rebuild(distiller, Distiller)
        self.companion: Companion | None = self.distiller
        self.trainable: Any = None  # the network with its loss, one forward pass: a `Root`
        self._is_ready = False  # to be trained, as `make_ready` does it
        self.vocabulary: Vocabulary | None = None
        self.tokenizer: Tokenizer | None = None
        self.seq_len = 0
        self.last_step: StepReport | None = None
        self.remarks: list[str] = []  # what was decided when the network was built, in words
        # where adapters are trained, a checkpoint has no other weights; which, is checked by name
        self.strict_loading = self.builder.adapter is None
        self.loss_parts = LossParts(torch.float32)  # of the present evaluation
        self.asks_to_stop = False  # of this rank; all learn of it with the step's report

    # -- what a subclass says ----------------------------------------------------------------

    @property
    @abstractmethod
    def head(self) -> Head:
        """What is on top of the network's body."""

    @abstractmethod
    def trainable_of(self, network: PreTrainedModel) -> nn.Module:
        """Puts the loss behind the network, in one forward pass that gives a Score.

        Layers of its own are trained and saved with it. Its `check()` decides how it is run, and
        says why where that is not the usual way.
        """

    def n_labels_of(self, batch: StepBatch) -> Tensor:
        """Counts what a step is divided by, as its Scores do: 0-d, on the batch's device."""
        return batch.n_labels

    def learn_of(self, data: Any) -> None:
        """Takes from the data module what the network is built from, if it is for such a one."""
        check_asked(self, data)
        self.vocabulary, self.seq_len = data.vocabulary, data.seq_len
        self.tokenizer = data.tokenizer if data.is_ready else None

    def make_ready(self, data: Any) -> None:
        """Does to a network that will be trained what leaves its numbers, and makes it fast."""

    def other_forms(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:  # noqa: ARG002
        """Gives predictions as tools of the field read them too: text by the ending of its file."""
        return {}

    @property
    def settings(self) -> dict[str, Any]:
        """The plain form of the constructor's arguments."""
        return shared_settings(self)

    @property
    def spec(self) -> dict[str, Any]:
        """The plain form of this module."""
        return {"class_path": class_path(type(self)), "init_args": whole_settings(self)}

    # -- building ------------------------------------------------------------------------------

    def configure_model(self) -> None:
        """Builds the network where the strategy wants it; outside a run, a checkpoint builds it."""
        if self._trainer is None:
            return
        if self.trainable is None:
            self._build_for_run()
        if self.trainer.state.fn == "fit" and not self._is_ready:  # built by a validation, perhaps
            check_own(self)
            self.make_ready(self.trainer.datamodule)  # type: ignore[attr-defined]
            self._is_ready = True
        if self.companion and self.companion.speaks_in(self.trainer.state.fn):
            self.remarks.append(self.companion.engage(self, self.trainer))

    def teardown(self, stage: str) -> None:  # noqa: ARG002
        """Lets the companion go."""
        if self.trainable is not None:
            self.trainable.dismiss()

    def _build_for_run(self) -> None:
        strategy, data = self._strategy, self.trainer.datamodule  # type: ignore[attr-defined]
        check_together(self, self.trainer)
        self.learn_of(data)
        self.remarks += data.remarks
        trainable = self.build(seed=self._seed, device=strategy.root_device, strategy=strategy)
        self.builder.check_seq_len(trainable.network.config, data.seq_len)

    def build(
        self, *, seed: int, device: torch.device, strategy: StepStrategy | None = None
    ) -> Any:
        """Builds network and loss, and finds out which forward is right."""
        self.trainable = trainable = build_trainable(
            self, seed=seed, device=device, strategy=strategy
        )
        self.remarks += self.builder.remarks
        if because := trainable.within(trainable.check):
            self.remark_own_forward(because)
        return trainable.train()

    def remark_own_forward(self, because: str) -> None:
        """Remarks that the loss is made of the network's own logits, and why."""
        self.remarks.append(f"loss: plain, on the network's own logits, because {because}")

    def remark_padding(self) -> None:
        """Remarks it where what the network says of a row depends on the rows beside it."""
        if self.micro_batch_size == 1:
            return
        if told := self.trainable.within(partial(reads_padding, self.trainable.network)):
            self.remarks.append(told)

    def configure_optimizers(self) -> Optimizer:
        """Builds the optimizer, over float32 copies where the network has lower precision."""
        optimizer = self.optimizer_builder.build(self.trainable)
        low = any(p.dtype.itemsize < 4 for g in optimizer.param_groups for p in g["params"])
        return MasterWeights(optimizer) if low else optimizer

    # -- training ------------------------------------------------------------------------------

    def on_train_start(self) -> None:
        """Lets the configuration's optimizer settings win over a checkpoint's."""
        self.schedule.check(self.trainer.max_steps)
        for group in self._optimizer.param_groups:
            group.update(self.optimizer_builder.settings(group))

    def training_step(self, batch: StepBatch, _index: int) -> None:
        """Makes one optimizer step of the micro-batches of this rank's share."""
        check_step(batch, self.trainer)
        strategy, mine = self._strategy, self.n_labels_of(batch)
        n_labels = strategy.sum_of_shares(mine.clone()).clamp(min=1)
        rate = self._set_learning_rate(batch.step)
        scores = self._backward(batch, scale=strategy.data_parallel_size / n_labels)
        self._precision.unscale(self.parameters())
        norm = strategy.grad_norm(self.parameters())
        totals, stops = over_ranks(summed(scores, mine), self.asks_to_stop, strategy)
        mean, off = totals.pop("loss") / n_labels, totals.pop(MISCOUNTED)
        skip, others = judged(self.trainer, mean, norm)
        others |= {f"train/{name}": total / n_labels for name, total in totals.items()}
        self.last_step = StepReport(mean, norm, stops, rate, batch.samples, batch.step, others, off)
        optimizer = self.optimizers()
        with clipped(self._optimizer, norm, self.clip_norm), left_out(self._optimizer, skip):
            optimizer.step()  # type: ignore[union-attr]
        optimizer.zero_grad()  # type: ignore[union-attr]
        self._precision.after_step(norm)

    def _backward(self, batch: StepBatch, *, scale: Tensor) -> list[Score]:
        """Adds up the gradients of the share; gives what its micro-batches say."""
        scores = []
        parts = list(batch.split(self.micro_batch_size))
        for part in parts:
            with self._strategy.micro_batch(last=part is parts[-1]):
                score = self._score(part)
                self.manual_backward(score.loss * scale)
            scores.append(score._replace(loss=score.loss.detach(), outputs=None))
        return scores

    def _score(self, part: StepBatch) -> Score:
        seed_micro_batch(self._seed, part.step, int(part.samples[0]), self.device)
        with self._precision.forward_context():
            score: Score = self.trainable(part)
        return score

    def _set_learning_rate(self, step: int) -> float:
        factor = self.schedule.factor(step, self.trainer.max_steps)
        for group in self._optimizer.param_groups:
            group["lr"] = self.optimizer_builder.peak_rate(group) * factor
        return self.optimizer_builder.learning_rate * factor

    # -- validation ----------------------------------------------------------------------------

    def score_without_training(self, batch: StepBatch) -> Iterator[tuple[StepBatch, Score]]:
        """Scores a batch of a validation, micro-batch by micro-batch."""
        check_batch(batch)
        for part in batch.split(self.micro_batch_size):
            score = self.trainable(part)
            self.loss_parts.add(score)
            yield part, score

    def start_sums(self, *shape: int) -> Tensor:
        """Starts the sums of an evaluation, and those of the parts of the loss."""
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        self.loss_parts = LossParts(exact)
        return torch.zeros(shape, dtype=exact, device=self.device)

    @property
    def stage(self) -> str:
        """How the names of what is measured begin: `val`, or `test`."""
        return "test" if self.trainer.testing else "val"

    def report(self, metrics: dict[str, float]) -> None:
        """Writes metrics, equal on all ranks, to every logger under the number of done steps."""
        # of plain numbers Lightning would make tensors on the device, and wait for each
        on_host = {name: torch.tensor(value) for name, value in metrics.items()}
        self.log_dict(on_host, logger=False)
        self.trainer.latest.update(metrics)  # type: ignore[attr-defined]
        for logger in self.loggers:
            logger.log_metrics(metrics, step=self.trainer.global_step)

    # -- checkpoints ---------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what is needed to build the same module again, as plain values."""
        assert self.vocabulary is not None
        checkpoint["hyper_parameters"] = redact_values(whole_settings(self))
        checkpoint["vocabulary"] = asdict(self.vocabulary)
        name_weights(self, checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Builds the network when the module is loaded outside a run."""
        if self.trainable is None:
            self.vocabulary = Vocabulary(**checkpoint["vocabulary"])
            self.build(seed=0, device=torch.device("cpu"))
        check_weights(self, checkpoint)

    @property
    def _strategy(self) -> StepStrategy:
        return step_strategy(self.trainer)

    @property
    def _seed(self) -> int:
        return int(self.trainer.seed)  # type: ignore[attr-defined]

    @property
    def _precision(self) -> StepPrecision:
        return self.trainer.precision_plugin  # type: ignore[return-value]

    @property
    def _optimizer(self) -> Optimizer:
        return self.trainer.optimizers[0]
