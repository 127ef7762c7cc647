"""Learning from pairs of answers, of which one is preferred."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import PreTrainedModel

from roots.batch import PreferenceBatch, Score
from roots.modules.base import StepModule
from roots.modules.make_fast import make_fast
from roots.modules.reference import Reference
from roots.networks import CAUSAL_LM, Head, NetworkBuilder, Trainable
from roots.objectives import Preference
from roots.optim import OptimizerBuilder, Schedule
from roots.strategies import StepStrategy


class PreferenceLM(StepModule):
    """Trains a network to prefer one answer to another, by direct preference optimisation (DPO).

    The reward of an answer is beta times how much likelier it became than it was before training;
    the loss of a pair is -log sigmoid(reward of the chosen - reward of the rejected), ln 2 at
    first. Logged in training and validation, as means over pairs: `accuracy`, the share of pairs
    whose chosen answer has the larger reward (a tie is half right), `margin` (chosen less
    rejected), `chosen_reward`, `rejected_reward`, and `chosen_nats`, the nats per token of the
    chosen answer: where it rises, both answers became unlikelier, and the other more so.

    The network before training is built a second time to compare with; beside an adapter it is the
    same network with the adapter off. It is in no checkpoint.

    Args:
        network: Builds the network, once the strategy is ready for it: one that can answer already.
        optimizer: Builds the optimizer.
        schedule: The learning rate of each step, as a fraction of the optimizer's.
        micro_batch_size: Pairs per device and forward pass, two rows each; it decides memory and
            speed, and leaves the numbers as they are. Fewer pairs mean more passes per step. `auto`
            takes the most that fit into memory on every rank, and writes the number into
            config.yaml.
        clip_norm: Largest norm of the gradient; `.inf` clips nothing.
        beta: How much a change of an answer's log-probability is worth, above 0: the more, the less
            the network moves away from what it was.
        label_smoothing: Share of the pairs that are taken to be labelled the wrong way round, 0 to
            0.5 (conservative DPO).
        chosen_weight: How much the nats per token of the chosen answer count beside the loss of the
            pair; 0.2 in Llama 3, 1 in iterative reasoning preference optimisation.

    Raises:
        ConfigError: A number that cannot work.

    Source:
        Rafailov et al., arXiv:2305.18290, eq. 7.
    """

    learns: ClassVar[str] = "which answer is preferred"
    causal = True

    def __init__(
        self,
        *,
        network: NetworkBuilder,
        optimizer: OptimizerBuilder,
        schedule: Schedule,
        micro_batch_size: int | str = 8,
        clip_norm: float = 1.0,
        beta: float = 0.1,
        label_smoothing: float = 0.0,
        chosen_weight: float = 0.0,
    ) -> None:
        super().__init__(
            network=network,
            optimizer=optimizer,
            schedule=schedule,
            micro_batch_size=micro_batch_size,
            clip_norm=clip_norm,
        )
        self.beta = beta
        self.label_smoothing = label_smoothing
        self.chosen_weight = chosen_weight
        self.companion = Reference(self.builder)
        self._sums: Tensor | None = None
        self.objective()  # raises for settings that cannot work

    @property
    def head(self) -> Head:
        """The projection to the vocabulary."""
        return CAUSAL_LM

    def objective(self) -> Preference:
        """Makes the loss."""
        return Preference(
            beta=self.beta,
            label_smoothing=self.label_smoothing,
            chosen_weight=self.chosen_weight,
        )

    def trainable_of(self, network: PreTrainedModel) -> Trainable:
        """Puts the loss behind the network's body, where the projection keeps no logits."""
        return Trainable(network, self.objective())

    def build(
        self, *, seed: int, device: torch.device, strategy: StepStrategy | None = None
    ) -> Trainable:
        """Builds network and loss; of logits, where weights are gone before their gradient."""
        trainable: Trainable = super().build(seed=seed, device=device, strategy=strategy)
        if strategy and strategy.hides_weights and not trainable.own_forward_because:
            because = f"{type(strategy).__name__} takes weights away between their uses"
            trainable.own_forward_because = because
            self.remark_own_forward(because)
        return trainable

    def make_ready(self, data: Any) -> None:
        """Chooses the attention where that is left open, and makes dropout quick on a CPU."""
        self.remarks += make_fast(
            self.trainable,
            self.builder,
            rows=2 * self.micro_batch_size,
            seq_len=data.seq_len,
            dtype=self.trainer.precision_plugin.products,  # type: ignore[attr-defined]
            compile_mode="none",
            strategy=self._strategy,
            whole_rows=False,
        )
        self.remarks += self.builder.other_tokens(data.tokenizer)

    # -- validation ----------------------------------------------------------------------------

    def on_validation_epoch_start(self) -> None:
        """Starts the sums."""
        self._sums = self.start_sums(2)

    def validation_step(self, batch: PreferenceBatch, _index: int) -> None:
        """Adds a batch to the sums of loss and pairs."""
        assert self._sums is not None
        for _, score in self.score_without_training(batch):
            self._sums += torch.stack([s.to(self._sums) for s in (score.loss, score.n_labels)])

    def on_validation_epoch_end(self) -> None:
        """Adds the ranks up, divides once, and reports."""
        assert self._sums is not None
        loss, count = self._strategy.sum_of_shares(self._sums).tolist()
        if count:
            measured = {"loss": loss / count, **self.loss_parts.per_label(count, self._strategy)}
            self.report({f"{self.stage}/{name}": value for name, value in measured.items()})

    on_test_epoch_start = on_validation_epoch_start
    test_step = validation_step
    on_test_epoch_end = on_validation_epoch_end

    # -- predictions ---------------------------------------------------------------------------

    def predict_step(self, batch: PreferenceBatch, _index: int) -> list[dict[str, Any]]:
        """Says of each pair which answer it prefers, and how likely either is and was."""
        rows: list[dict[str, Any]] = []
        for part, score in self.score_without_training(batch):
            said = zip(part.samples.tolist(), self._said(score), strict=True)
            rows += [{"sample": sample, **words} for sample, words in said if sample >= 0]
        return rows

    def _said(self, score: Score) -> list[dict[str, Any]]:
        assert score.outputs is not None
        return [_worded(pair, self.beta) for pair in score.outputs.double().tolist()]


def _worded(pair: list[list[float]], beta: float) -> dict[str, Any]:
    """Words how likely the chosen and the rejected answer are, and were before training."""
    (chosen, chosen_before), (rejected, rejected_before) = pair
    rewards = beta * (chosen - chosen_before), beta * (rejected - rejected_before)
    margin = rewards[0] - rewards[1]
    return {
        "preferred": "neither" if margin == 0 else "chosen" if margin > 0 else "rejected",
        "margin": margin,
        "chosen_reward": rewards[0],
        "rejected_reward": rewards[1],
        "chosen_log_prob": chosen,
        "rejected_log_prob": rejected,
        "chosen_log_prob_before": chosen_before,
        "rejected_log_prob_before": rejected_before,
    }
