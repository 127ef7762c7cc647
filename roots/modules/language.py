"""What language models share: what is compiled, and what a validation reports in nats."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from roots.batch import TokenBatch
from roots.errors import ConfigError
from roots.modules.base import StepModule
from roots.modules.distiller import Distiller
from roots.modules.make_fast import make_fast
from roots.networks import NetworkBuilder, check_compile, check_packing, is_quantised
from roots.objectives import MaskedToken, NextToken
from roots.optim import OptimizerBuilder, Schedule
from roots.strategies import StepStrategy


class PerLabel(NamedTuple):
    """Means of a validation, per label.

    Args:
        loss: What is optimized.
        nats: The cross-entropy.
        n_bytes: UTF-8 bytes of text.
        hits: Share of the labels that were the network's best guess, where that is asked.
    """

    loss: float
    nats: float
    n_bytes: float
    hits: float


class LanguageModule(StepModule):
    """Trains a network to predict tokens.

    Args:
        network: Builds the network, once the strategy is ready for it.
        optimizer: Builds the optimizer.
        schedule: The learning rate of each step, as a fraction of the optimizer's.
        micro_batch_size: Rows per device and forward pass; it decides memory and speed, and leaves
            the numbers as they are (but for the loss of a mixture of experts' router, which is of a
            micro-batch). Fewer rows mean more passes per step. `auto` takes the most that fit into
            memory on every rank, and writes the number into config.yaml.
        clip_norm: Largest norm of the gradient; `.inf` clips nothing.
        label_smoothing: Share of the target's probability that is spread evenly over the
            vocabulary, 0 to 1.
        z_loss: Weight of the squared log of the softmax's denominator.
        loss: How projection and loss are made (see `NextToken`).
        compile: What torch compiles: `none`, `blocks` or `network`.
        distiller: Learn from a teacher as well.

    Raises:
        ConfigError: A number that cannot work, or `loss` or `compile` names nothing.
    """

    def __init__(
        self,
        *,
        network: NetworkBuilder,
        optimizer: OptimizerBuilder,
        schedule: Schedule,
        micro_batch_size: int | str = 8,
        clip_norm: float = 1.0,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        loss: str = "fused",
        compile: str = "none",
        distiller: Distiller | None = None,
    ) -> None:
        super().__init__(
            network=network,
            optimizer=optimizer,
            schedule=schedule,
            micro_batch_size=micro_batch_size,
            clip_norm=clip_norm,
            distiller=distiller,
        )
        check_compile(compile)
        self.label_smoothing = label_smoothing
        self.z_loss = z_loss
        self.loss = loss
        self.compiled = compile  # nn.Module has a method of the name
        self._sums: Tensor | None = None
        self._groups: Sequence[str] = ()
        self._packed_by = ""
        self.objective()  # raises for settings that cannot work

    @abstractmethod
    def objective(self) -> NextToken | MaskedToken:
        """Makes the loss."""

    @property
    def loss_settings(self) -> dict[str, Any]:
        """What the loss is made of."""
        return {
            "label_smoothing": self.label_smoothing,
            "z_loss": self.z_loss,
            "kernel": self.loss,
            "compiled": self.compiled != "none",
        }

    @abstractmethod
    def validation_metrics(self, means: PerLabel) -> dict[str, float]:
        """Names what is reported of a validation."""

    @property
    def settings(self) -> dict[str, Any]:
        """The plain form of the constructor's arguments."""
        names = ("label_smoothing", "z_loss", "loss")
        mine = {name: getattr(self, name) for name in names}
        return {**super().settings, "compile": self.compiled, **mine}

    def learn_of(self, data: Any) -> None:
        """Takes the vocabulary, and whether the documents of a row are kept apart.

        Raises:
            ConfigError: Something shall be compiled, and the rows are of different lengths.
        """
        super().learn_of(data)
        if self.compiled != "none" and not data.same_lengths:
            rows = getattr(data, "rows", "")
            which = f" (data.rows: {rows})" if rows else ""
            other = ", or data.rows to windows or packed" if rows else ""
            raise ConfigError(
                f"compile: {self.compiled} compiles anew for each length, and the rows of"
                f" {type(data).__name__} have many{which}. Set model.compile to none{other}."
            )
        self._packed_by = data.packed_by
        self._groups = data.groups

    def build(
        self, *, seed: int, device: torch.device, strategy: StepStrategy | None = None
    ) -> Any:
        """Builds network and loss, and proves that documents are kept apart where they are to."""
        trainable = super().build(seed=seed, device=device, strategy=strategy)
        self._prove_packing()
        return trainable

    def _prove_packing(self) -> None:
        if self._packed_by:
            proof = partial(check_packing, self.trainable.network, self._packed_by)
            self.trainable.within(proof)

    def make_ready(self, data: Any) -> None:
        """Chooses the attention where that is left open, and marks what is compiled.

        Raises:
            ConfigError: Something shall be compiled, and the weights are of few bits.
        """
        if self.compiled != "none" and is_quantised(self.trainable.network):
            raise ConfigError(
                f"compile: {self.compiled} does not see into bitsandbytes' layers. Set"
                " model.compile to none, or leave out network.quantise."
            )
        self.remarks += make_fast(
            self.trainable,
            self.builder,
            rows=self.micro_batch_size,
            seq_len=data.seq_len,
            dtype=self.trainer.precision_plugin.products,  # type: ignore[attr-defined]
            compile_mode=self.compiled,
            strategy=self._strategy,
            whole_rows=data.same_lengths and not self._packed_by,
            n_shapes=len(data.lengths) * data.n_sizes,
        )
        self.remarks += self.builder.other_tokens(data.tokenizer)
        self._prove_packing()

    # -- validation ----------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Starts the sums: of each group that the data report by themselves, or of one."""
        self._sums = self.start_sums(max(len(self._groups), 1), 5)

    def validation_step(self, batch: TokenBatch, index: int) -> None:
        """Adds a batch to the sums of labels, loss, nats, bytes and hits."""
        assert self._sums is not None
        group = self._group_of(index)
        for part, score in self.score_without_training(batch):
            assert isinstance(part, TokenBatch)
            hits = score.nats.new_zeros(()) if score.outputs is None else score.outputs.sum()
            sums = (score.n_labels, score.loss, score.nats, part.n_bytes.sum(), hits)
            self._sums[group] += torch.stack([s.to(self._sums) for s in sums])

    def on_validation_epoch_end(self) -> None:
        """Adds the ranks up, divides once, and reports; the whole has all labels of all groups."""
        assert self._sums is not None
        sums = self._strategy.sum_of_shares(self._sums).cpu()
        whole = sums.sum(0)
        metrics = self._means(whole, self.stage)
        if count := float(whole[0]):
            parts = self.loss_parts.per_label(count, self._strategy)
            metrics |= {f"{self.stage}/{name}": value for name, value in parts.items()}
        for name, own in zip(self._groups, sums, strict=False):
            metrics |= self._means(own, f"{self.stage}/{name}")
        if metrics:
            self.report(metrics)

    def _means(self, sums: Tensor, prefix: str) -> dict[str, float]:
        count, *others = sums.tolist()
        if not count:
            return {}
        named = self.validation_metrics(PerLabel(*(each / count for each in others)))
        return {f"{prefix}/{name}": value for name, value in named.items()}

    def _group_of(self, index: int) -> int:
        if not self._groups:
            return 0
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        return self._groups.index(data.group_of(self.stage, index))

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def predict_step(self, batch: TokenBatch, _index: int) -> list[dict[str, float]]:
        """Scores each row by itself: its number, labels, nats and bytes."""
        rows = []
        for part in batch.split(1):
            score = self.trainable(part)  # of a filler row too: every rank runs as many
            if int(part.samples[0]) >= 0:
                rows.append(
                    {
                        "sample": int(part.samples[0]),
                        "labels": int(score.n_labels),
                        "nats": float(score.nats),
                        "bytes": int(part.n_bytes.sum()),
                    }
                )
        return rows


def perplexity(nats: float) -> float:
    """Gives e to the nats; infinity where that is more than a float holds."""
    return math.exp(nats) if nats < 700 else math.inf
