"""Pretraining of masked language models: BERT and its kin."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import PreTrainedModel

from roots.modules.distiller import Distiller
from roots.modules.language import LanguageModule, PerLabel, perplexity
from roots.networks import MASKED_LM, Head, MaskedTrainable, NetworkBuilder
from roots.objectives import MaskedToken
from roots.optim import OptimizerBuilder, Schedule


class MaskedLM(LanguageModule):
    """Trains an encoder to find hidden tokens: BERT, RoBERTa, DistilBERT, ModernBERT.

    What is hidden, the data say: `roots.data.MaskedCorpus`. Only the hidden positions go through
    the projection to the vocabulary.

    Args:
        network: Builds the network, once the strategy is ready for it.
        optimizer: Builds the optimizer.
        schedule: The learning rate of each step, as a fraction of the optimizer's.
        micro_batch_size: Rows per device and forward pass; it decides memory and speed, and leaves
            the numbers as they are. Fewer rows mean more passes per step. `auto` takes the most
            that fit into memory on every rank, and writes the number into config.yaml.
        clip_norm: Largest norm of the gradient; `.inf` clips nothing.
        label_smoothing: Share of the target's probability that is spread evenly over the
            vocabulary, 0 to 1.
        z_loss: Weight of the squared log of the softmax's denominator.
        loss: How projection and loss are made: `fused` keeps no logits, `plain` makes them,
            `torch` and `liger` are other people's kernels (see `NextToken`). Where the network's
            own forward must be run, which the run says, all of them are `plain`.
        compile: What torch compiles: `none`; `blocks`, layer by layer, with a short start; or
            `network`, all layers at once. Rows of one length only: `data.rows` of `windows` or
            `packed`; rows of different lengths would be compiled anew for each.
        distiller: Learn from a teacher as well: `{class_path: roots.modules.Distiller, init_args:
            {teacher: runs/large/0001}}`.

    Raises:
        ConfigError: A number that cannot work, or rows of different lengths that are compiled.
    """

    learns: ClassVar[str] = "hidden tokens"

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
        """The transform and the projection to the vocabulary."""
        return MASKED_LM

    def objective(self) -> MaskedToken:
        """Makes the loss."""
        return MaskedToken(**self.loss_settings)

    def trainable_of(self, network: PreTrainedModel) -> MaskedTrainable:
        """Puts the loss behind the network's body, with the head on hidden positions alone."""
        return MaskedTrainable(network, self.objective())

    def make_ready(self, data: Any) -> None:
        """Does what every language model does, and remarks it where padding is read."""
        if not data.same_lengths:
            self.remark_padding()
        super().make_ready(data)

    def validation_metrics(self, means: PerLabel) -> dict[str, float]:
        """Reports the loss, the cross-entropy per hidden token, and how many are found."""
        return {
            "loss": means.loss,
            "nats_per_token": means.nats,
            "perplexity": perplexity(means.nats),
            "accuracy": means.hits,
        }
