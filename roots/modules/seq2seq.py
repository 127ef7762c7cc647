"""Translation, summaries, corrections: a text made of a text by an encoder-decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from roots.batch import PairBatch
from roots.errors import ConfigError
from roots.modules.base import StepModule
from roots.modules.distiller import Distiller
from roots.modules.language import perplexity
from roots.modules.task import check_several
from roots.networks import (
    SEQ2SEQ,
    Head,
    NetworkBuilder,
    Search,
    Seq2SeqTrainable,
    sources_of,
)
from roots.networks.builder import n_positions
from roots.networks.dropout import quicken_dropout
from roots.networks.task import inputs_of
from roots.objectives import NextToken
from roots.optim import OptimizerBuilder, Schedule
from roots.tokenizer import EndedFraming, Tokenizer


@dataclass(frozen=True, kw_only=True)
class PairFormat:
    """How the data write a pair, which is saved with the network.

    Args:
        tokenizer: Of both sides.
        prefix: Put before every source.
        max_source_tokens: Tokens of a source at most.
        max_target_tokens: Tokens of a target at most.
    """

    tokenizer: Tokenizer
    prefix: str
    max_source_tokens: int
    max_target_tokens: int

    @property
    def spec(self) -> dict[str, Any]:
        """The plain form."""
        tokenizer = {"definition": self.tokenizer.definition, "settings": self.tokenizer.settings}
        return {
            "tokenizer": tokenizer,
            "prefix": self.prefix,
            "max_source_tokens": self.max_source_tokens,
            "max_target_tokens": self.max_target_tokens,
        }

    @classmethod
    def of(cls, spec: dict[str, Any]) -> PairFormat:
        """Makes the format that `spec` described."""
        return cls(**{**spec, "tokenizer": Tokenizer(**spec["tokenizer"])})


class Seq2Seq(StepModule):
    """Learns to write a target for a source: a translation, a summary, a correction.

    Validation measures the cross-entropy per target token. What the network writes by itself is
    measured by `roots.callbacks.GeneratedTexts`.

    Args:
        network: Builds the network, once the strategy is ready for it: a T5, BART, Marian, ….
        optimizer: Builds the optimizer.
        schedule: The learning rate of each step, as a fraction of the optimizer's.
        micro_batch_size: Pairs per device and forward pass; it decides memory and speed, and leaves
            the numbers as they are. Fewer pairs mean more passes per step.
        clip_norm: Largest norm of the gradient; `.inf` clips nothing.
        label_smoothing: Share of the target's probability that is spread evenly over the
            vocabulary, 0 to 1; 0.1 is usual for translation.
        loss: How projection and loss are made: `fused` keeps no logits, `plain` makes them,
            `torch` and `liger` are other people's kernels (see `NextToken`). Where the network's
            own forward must be run, which the run says, all of them are `plain`.
        beams: Beginnings that are followed at once when a target is generated; 1 is greedy.
        length_penalty: Power of the length by which the log-probability of a finished target is
            divided when beams are compared: more prefers longer ones.
        distiller: Learn from a teacher as well: `{class_path: roots.modules.Distiller, init_args:
            {teacher: runs/large/0001}}`.

    Raises:
        ConfigError: A number that cannot work.
    """

    learns: ClassVar[str] = "the target of a source"

    def __init__(
        self,
        *,
        network: NetworkBuilder,
        optimizer: OptimizerBuilder,
        schedule: Schedule,
        micro_batch_size: int | str = 32,
        clip_norm: float = 1.0,
        label_smoothing: float = 0.0,
        loss: str = "fused",
        beams: int = 4,
        length_penalty: float = 1.0,
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
        self.label_smoothing = label_smoothing
        self.loss = loss
        self.beams = beams
        self.length_penalty = length_penalty
        self.format: PairFormat | None = None
        self._sums: Tensor | None = None
        self._together = False
        self.objective()  # raises for settings that cannot work
        Search(beams=beams, length_penalty=length_penalty)

    @property
    def head(self) -> Head:
        """A decoder with a projection to the vocabulary."""
        return SEQ2SEQ

    @property
    def settings(self) -> dict[str, Any]:
        """The plain form of the constructor's arguments."""
        names = ("label_smoothing", "loss", "beams", "length_penalty")
        return {**super().settings, **{name: getattr(self, name) for name in names}}

    def objective(self) -> NextToken:
        """Makes the loss."""
        return NextToken(label_smoothing=self.label_smoothing, kernel=self.loss)

    def trainable_of(self, network: PreTrainedModel) -> Seq2SeqTrainable:
        """Puts the loss behind the decoder, where it may be fused with the projection."""
        return Seq2SeqTrainable(network, self.objective())

    def learn_of(self, data: Any) -> None:
        """Takes the vocabulary and how a pair is written, and checks that the network is as long.

        Raises:
            ConfigError: The network has fewer positions than a source or a target may have tokens.
        """
        super().learn_of(data)
        self.format = PairFormat(
            tokenizer=data.tokenizer,
            prefix=data.prefix,
            max_source_tokens=data.max_source_tokens,
            max_target_tokens=data.max_target_tokens,
        )
        limit = n_positions(self.builder.network_config(self.vocabulary, self.head))
        for name in ("max_source_tokens", "max_target_tokens"):
            asked = getattr(data, name)
            if limit is not None and asked > limit:
                raise ConfigError(
                    f"{name}={asked:,} is more than the {limit:,} positions that this network has"
                    f" (max_position_embeddings). Set data.{name} to at most {limit:,}, or give a"
                    f" network built from a config max_position_embeddings: {asked}."
                )

    def make_ready(self, data: Any) -> None:
        """Makes dropout quick on a CPU."""
        del data
        quicken_dropout(self.trainable.network, self._strategy.root_device)

    # -- validation ----------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Starts the sums."""
        self._sums = self.start_sums(3)

    def validation_step(self, batch: PairBatch, _index: int) -> None:
        """Adds a batch to the sums of loss, nats and labels."""
        assert self._sums is not None
        for _, score in self.score_without_training(batch):
            sums = (score.loss, score.nats, score.n_labels)
            self._sums += torch.stack([s.to(self._sums) for s in sums])

    def on_validation_epoch_end(self) -> None:
        """Adds the ranks up, divides once, and reports."""
        assert self._sums is not None
        loss, nats, count = self._strategy.sum_of_shares(self._sums).tolist()
        if count:
            measured = {
                "loss": loss / count,
                "nats_per_token": nats / count,
                "perplexity": perplexity(nats / count),
                **self.loss_parts.per_label(count, self._strategy),
            }
            self.report({f"{self.stage}/{name}": value for name, value in measured.items()})

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    # -- targets -------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Learns whether all ranks are needed to run the network."""
        del stage
        self._together = not self._strategy.builds_whole

    def write(self, batch: PairBatch) -> list[str]:
        """Generates a target for each row of a batch, fillers included.

        Where the weights are cut over the ranks, all ranks come here at once, each with rows of its
        own, of which there are as many micro-batches.
        """
        assert self.format is not None
        search = Search(
            beams=self.beams,
            length_penalty=self.length_penalty,
            max_tokens=self.format.max_target_tokens,
        )
        network, together = self.trainable.network, self._together
        found: list[list[int]] = []
        for part in batch.split(self.micro_batch_size):
            written = partial(search, network, inputs_of(part), together=together)
            found += self.trainable.within(written)
        return [self.format.tokenizer.decode_text(ids) for ids in found]

    def predict_step(self, batch: PairBatch, _index: int) -> list[dict[str, Any]]:
        """Generates a target for each row."""
        rows = zip(batch.samples.tolist(), self.write(batch), strict=True)
        return [{"sample": sample, "text": text} for sample, text in rows if sample >= 0]

    @torch.no_grad()
    def predict(self, texts: Sequence[str]) -> list[str]:
        """Generates a target for each text, such as its translation.

        Args:
            texts: Sources, without the prefix; the network sees them as the data showed them.

        Raises:
            ConfigError: The module was neither fitted nor loaded, or `texts` is one text.
        """
        check_several(texts)
        if self.trainable is None or self.format is None:
            raise ConfigError(
                "This Seq2Seq has no network yet. Fit it first, or load one:"
                " Seq2Seq.load_from_checkpoint(CHECKPOINT / 'trainer.ckpt')."
            )
        mode = self.trainable.training
        self.trainable.eval()
        try:
            return self._predicted(texts)
        finally:
            self.trainable.train(mode)

    def _predicted(self, texts: Sequence[str]) -> list[str]:
        """Writes the longest first, so that rows of like length come together."""
        assert self.format is not None
        framing = EndedFraming(self.format.tokenizer, max_tokens=self.format.max_source_tokens)
        ids = [ids for ids, _ in framing.ids([self.format.prefix + text for text in texts])]
        order = sorted(range(len(ids)), key=lambda row: -len(ids[row]))
        written: dict[int, str] = {}
        for start in range(0, len(order), self.micro_batch_size):
            rows = order[start : start + self.micro_batch_size]
            written |= zip(rows, self.write(self._sources([ids[r] for r in rows])), strict=True)
        return [written[row] for row in range(len(ids))]

    def _sources(self, ids: list[list[int]]) -> PairBatch:
        """Lays sources under each other, with nothing to learn."""
        assert self.format is not None
        inputs = sources_of(ids, self.format.tokenizer.pad_id)
        lengths = inputs["attention_mask"].sum(1)
        return PairBatch(
            inputs=inputs,
            labels=torch.full((len(ids), 1), -100),
            lengths=lengths,
            target_lengths=torch.ones_like(lengths),
            samples=torch.arange(len(ids)),
            step=0,
        ).to(self.trainable.network.device)

    # -- checkpoints ---------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds how a pair is written."""
        super().on_save_checkpoint(checkpoint)
        assert self.format is not None
        checkpoint["format"] = self.format.spec

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Takes how a pair is written, then builds the network when it is loaded outside a run."""
        self.format = PairFormat.of(checkpoint["format"])
        super().on_load_checkpoint(checkpoint)
