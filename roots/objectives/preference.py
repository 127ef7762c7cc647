"""The loss of pairs of answers, of which one is preferred.

Shape letters: P pairs, R = 2 P rows, a pair's one under the other, T tokens, V vocabulary, D width.
"""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from roots.batch import IGNORE, Score
from roots.errors import ConfigError
from roots.objectives.log_probs import label_log_probs, projected_log_probs


class AnswerSums:
    """Scores nothing; says how likely both answers of each pair are, as a reference is asked."""

    def from_hidden(
        self, hidden: Float[Tensor, "R T D"], head: nn.Module, labels: Int[Tensor, "P 2 T"]
    ) -> Score:
        """Says it from the hidden states and the vocabulary projection."""
        return _unscored(sums_from_hidden(hidden, head, labels))

    def from_logits(self, logits: Float[Tensor, "R T V"], labels: Int[Tensor, "P 2 T"]) -> Score:
        """Says it from the logits."""
        return _unscored(sums_from_logits(logits, labels))


class Preference:
    """Prefers one answer to another, by how much likelier each became than it was (DPO).

    With r = beta · (log p(answer) - log p before training), the reward of an answer, the loss of a
    pair is -log sigmoid(r of the chosen - r of the rejected).

    Args:
        beta: How much a change of the log-probability is worth: the more, the less the network
            moves away from what it was.
        label_smoothing: Share of the pairs that are taken to be labelled the wrong way round.
        chosen_weight: How much the nats per token of the chosen answer count beside the rest.

    Raises:
        ConfigError: A number that cannot work.

    Source:
        Rafailov et al., arXiv:2305.18290, eq. 7. Smoothing: Mitchell, "A note on DPO with noisy
        preferences & relationship to IPO" (conservative DPO). The chosen answer: Pang et al.,
        arXiv:2404.19733, eq. 1.
    """

    def __init__(
        self, *, beta: float = 0.1, label_smoothing: float = 0.0, chosen_weight: float = 0.0
    ) -> None:
        if not 0 < beta < math.inf:
            raise ConfigError(
                f"beta={beta:g} makes all rewards equal, or infinite. Set model.beta above 0; 0.1"
                " is usual, 0.01 to 0.5 are common."
            )
        if not 0 <= label_smoothing < 0.5:
            raise ConfigError(
                f"label_smoothing={label_smoothing:g} would take half of the pairs or more to be"
                " labelled the wrong way round. Set model.label_smoothing to at least 0 and below"
                " 0.5; 0.1 is common, 0 turns it off."
            )
        if not 0 <= chosen_weight < math.inf:
            raise ConfigError(
                f"chosen_weight={chosen_weight:g} is no weight. Set model.chosen_weight to 0 (off)"
                " or above; 0.2 and 1 are common."
            )
        self.beta = beta
        self.label_smoothing = label_smoothing
        self.chosen_weight = chosen_weight
        self.reference: Float[Tensor, "P 2"] | None = None

    def beside(self, reference: Float[Tensor, "P 2"]) -> Preference:
        """Makes the same loss of a batch whose answers were as likely before training.

        Args:
            reference: Log-probability of the chosen and the rejected answer of each pair.
        """
        compared = copy.copy(self)
        compared.reference = reference
        return compared

    def from_hidden(
        self, hidden: Float[Tensor, "R T D"], head: nn.Module, labels: Int[Tensor, "P 2 T"]
    ) -> Score:
        """Scores pairs from the hidden states and the vocabulary projection."""
        return self._score(sums_from_hidden(hidden, head, labels), labels)

    def from_logits(self, logits: Float[Tensor, "R T V"], labels: Int[Tensor, "P 2 T"]) -> Score:
        """Scores pairs from the logits."""
        return self._score(sums_from_logits(logits, labels), labels)

    def _score(self, sums: Float[Tensor, "P 2"], labels: Int[Tensor, "P 2 T"]) -> Score:
        if self.reference is None:
            raise ConfigError(
                "The loss of a pair compares a network with what it was before training, which is"
                " only there in a run. Measure pairs with roots validate, test or predict --run"
                " RUN; the network of roots.load(RUN) writes, and says how likely a text is."
            )
        n_tokens = (labels[:, 0] != IGNORE).sum(-1)  # P, of the chosen answer; 0 in a filler
        there = n_tokens > 0
        rewards = self.beta * (sums - self.reference)  # P 2
        margin = rewards[:, 0] - rewards[:, 1]  # P
        nats, other = -F.logsigmoid(margin), -F.logsigmoid(-margin)
        loss = (1 - self.label_smoothing) * nats + self.label_smoothing * other
        chosen_nats = -sums[:, 0] / n_tokens.clamp(min=1)
        loss = loss + self.chosen_weight * chosen_nats
        parts = {
            "accuracy": (margin.sign() + 1) / 2,  # a tie is half right
            "margin": margin,
            "chosen_reward": rewards[:, 0],
            "rejected_reward": rewards[:, 1],
            "chosen_nats": chosen_nats,
        }
        return Score(
            loss.where(there, 0).sum(),
            nats.detach().where(there, 0).sum(),
            there.sum(),
            outputs=torch.stack((sums.detach(), self.reference), -1),  # P 2 2
            parts={name: each.detach().where(there, 0).sum() for name, each in parts.items()},
        )


def sums_from_hidden(
    hidden: Float[Tensor, "R T D"], head: nn.Module, labels: Int[Tensor, "P 2 T"]
) -> Float[Tensor, "P 2"]:
    """Gives the log-probability of both answers of each pair, from hidden states.

    A head that is more than a matrix and a bias (quantised, with adapters) is run as it is.
    """
    if type(head) is not nn.Linear:
        return sums_from_logits(head(hidden), labels)
    rows = labels.flatten(0, 1)  # R T
    by_token = projected_log_probs(hidden, head.weight, head.bias, rows)
    return by_token.sum(-1).view(labels.shape[:2])


def sums_from_logits(
    logits: Float[Tensor, "R T V"], labels: Int[Tensor, "P 2 T"]
) -> Float[Tensor, "P 2"]:
    """Gives the log-probability of both answers of each pair, from logits."""
    by_token = label_log_probs(logits, labels.flatten(0, 1))  # R T
    return by_token.sum(-1).view(labels.shape[:2])


def _unscored(sums: Float[Tensor, "P 2"]) -> Score:
    zero = torch.zeros((), device=sums.device)
    return Score(zero, zero, zero.long(), outputs=sums)
