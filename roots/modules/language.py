"""What language models share: what is compiled, and what a validation reports in nats."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from roots.batch import TokenBatch
from roots.errors import ConfigError
from roots.modules.base import StepModule
from roots.modules.make_fast import make_fast
from roots.networks import NetworkBuilder, Trainable, check_compile, is_quantised
from roots.objectives import NextToken
from roots.optim import OptimizerBuilder, Schedule


class LanguageModule(StepModule):
    """Trains a network to predict tokens.

    Args:
        network: Builds the network, once the strategy is ready for it.
        optimizer: Builds the optimizer.
        schedule: The learning rate of each step, as a fraction of the optimizer's.
        micro_batch_size: Rows per device and forward pass; it decides memory and speed, and leaves
            the numbers as they are. Fewer rows mean more passes per step.
        clip_norm: Largest norm of the gradient; `.inf` clips nothing.
        compile: What torch compiles: `none`, `blocks` or `network`.

    Raises:
        ConfigError: `micro_batch_size` or `clip_norm` is not positive, or `compile` names nothing.
    """

    def __init__(
        self,
        *,
        network: NetworkBuilder,
        optimizer: OptimizerBuilder,
        schedule: Schedule,
        micro_batch_size: int = 8,
        clip_norm: float = 1.0,
        compile: str = "none",
    ) -> None:
        super().__init__(
            network=network,
            optimizer=optimizer,
            schedule=schedule,
            micro_batch_size=micro_batch_size,
            clip_norm=clip_norm,
        )
        check_compile(compile)
        self.compiled = compile  # nn.Module has a method of the name
        self._sums: Tensor | None = None

    @abstractmethod
    def objective(self) -> NextToken:
        """Makes the loss."""

    @abstractmethod
    def validation_metrics(self, loss: float, nats: float, n_bytes: float) -> dict[str, float]:
        """Names what is reported of a validation.

        Args:
            loss: Mean of what is optimized, per label.
            nats: Mean cross-entropy, per label.
            n_bytes: Mean UTF-8 bytes of text per label.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """The plain form of the constructor's arguments."""
        return {**super().settings, "compile": self.compiled}

    def trainable_of(self, network: PreTrainedModel) -> Trainable:
        """Puts the loss behind the network's body, where it may be fused with the projection."""
        return Trainable(network, self.objective())

    def make_ready(self, data: Any) -> None:
        """Chooses the attention where that is left open, and marks what is compiled.

        Raises:
            ConfigError: Something shall be compiled, and the rows are of different lengths or the
                weights of few bits.
        """
        if self.compiled != "none" and not data.same_lengths:
            raise ConfigError(
                f"compile: {self.compiled} compiles anew for each length, and the rows of"
                f" {type(data).__name__} have many. Set model.compile to none."
            )
        if self.compiled != "none" and is_quantised(self.trainable.network):
            raise ConfigError(
                f"compile: {self.compiled} does not see into bitsandbytes' layers. Set"
                " model.compile to none, or leave out network.quantise."
            )
        self.remarks += make_fast(
            self.trainable.network,
            self.builder,
            rows=self.micro_batch_size,
            seq_len=data.seq_len,
            dtype=self.trainer.precision_plugin.products,  # type: ignore[attr-defined]
            compile_mode=self.compiled,
            strategy=self._strategy,
        )

    # -- validation ----------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Starts the sums."""
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        self._sums = torch.zeros(4, dtype=exact, device=self.device)

    def validation_step(self, batch: TokenBatch, _index: int) -> None:
        """Adds a batch to the sums of loss, nats, labels and bytes."""
        assert self._sums is not None
        for part, score in self.score_without_training(batch):
            sums = (score.loss, score.nats, score.n_labels, part.n_bytes.sum())  # type: ignore[attr-defined]
            self._sums += torch.stack([s.to(self._sums) for s in sums])

    def on_validation_epoch_end(self) -> None:
        """Adds the ranks up, divides once, and reports."""
        assert self._sums is not None
        loss, nats, count, n_bytes = self._strategy.reduce(self._sums, reduce_op="sum").tolist()
        if not count:
            return
        metrics = self.validation_metrics(loss / count, nats / count, n_bytes / count)
        self.report({f"{self.stage}/{name}": value for name, value in metrics.items()})

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    def predict_step(self, batch: TokenBatch, _index: int) -> list[dict[str, float]]:
        """Scores each row by itself: its number, labels, nats and bytes."""
        rows = []
        for part in batch.split(1):
            if int(part.samples[0]) >= 0:
                score = self.trainable(part)
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
