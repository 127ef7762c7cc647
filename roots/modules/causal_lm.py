"""Pretraining of causal language models."""

from __future__ import annotations

import math
from typing import ClassVar

from transformers import PreTrainedModel

from roots.modules.distiller import Distiller
from roots.modules.language import LanguageModule, PerLabel, perplexity
from roots.networks import CAUSAL_LM, Head, NetworkBuilder, Trainable
from roots.objectives import NextToken
from roots.optim import OptimizerBuilder, Schedule


class CausalLM(LanguageModule):
    """Trains a network to predict the next token.

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
        z_loss: Weight of the squared log of the softmax's denominator; 1e-4 in PaLM.
        loss: How projection and loss are made: `fused` keeps no logits, `plain` makes them,
            `torch` and `liger` are other people's kernels (see `NextToken`). Where the network's
            own forward must be run, which the run says, all of them are `plain`.
        compile: What torch compiles: `none`; `blocks`, layer by layer, with a short start; or
            `network`, all layers at once, the fastest. The first run of a network pays tens of
            seconds, the next ones find it done.
        distiller: Learn from a teacher as well: `{class_path: roots.modules.Distiller, init_args:
            {teacher: runs/large/0001}}`.
    """

    learns: ClassVar[str] = "next tokens"
    causal = True

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
            label_smoothing=label_smoothing,
            z_loss=z_loss,
            loss=loss,
            compile=compile,
            distiller=distiller,
        )

    @property
    def head(self) -> Head:
        """The projection to the vocabulary."""
        return CAUSAL_LM

    def objective(self) -> NextToken:
        """Makes the loss."""
        return NextToken(**self.loss_settings)

    def trainable_of(self, network: PreTrainedModel) -> Trainable:
        """Puts the loss behind the network's body, where it may be fused with the projection."""
        return Trainable(network, self.objective())

    def validation_metrics(self, means: PerLabel) -> dict[str, float]:
        """Reports the loss, and the cross-entropy per token and per byte of text."""
        bits = means.nats / math.log(2)
        return {
            "loss": means.loss,
            "nats_per_token": means.nats,
            "perplexity": perplexity(means.nats),
            "bits_per_byte": bits / means.n_bytes if means.n_bytes else math.nan,
        }
