"""A network and its loss in one forward pass: the module that strategies wrap."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from roots.batch import PreferenceBatch, Score, TokenBatch
from roots.errors import ConfigError
from roots.networks.large_states import logits_apart, logits_of_large_states
from roots.networks.packing import packed_arguments
from roots.networks.root import Root
from roots.networks.unpacked import rows_are_packed, rows_are_unpacked


@runtime_checkable
class Objective(Protocol):
    """Scores labelled positions; what `roots.objectives` offers."""

    def from_hidden(
        self, hidden: Float[Tensor, "B T D"], head: nn.Module, labels: Int[Tensor, "B T"]
    ) -> Score:
        """Scores from the hidden states and the vocabulary projection."""

    def from_logits(self, logits: Float[Tensor, "B T V"], labels: Int[Tensor, "B T"]) -> Score:
        """Scores from the logits."""


class Trainable(Root):
    """Runs body, head and loss inside one forward pass, where sharded weights are whole.

    The loss takes the hidden states and the head, so that it may fuse the two. That is only right
    where the network's logits *are* head(body(input)): Gemma 2 caps them, Cohere and Granite scale
    them, mixtures of experts add a loss. `check` finds out, and where they differ the network's own
    forward is used.

    Args:
        network: A `transformers` causal language model.
        objective: Scores the labelled positions.
    """

    def __init__(self, network: PreTrainedModel, objective: Objective) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.network.config.use_cache = False
        self.own_forward_because = ""
        """Why the network's own forward is used; empty when body and head are run apart."""

    def forward(self, batch: TokenBatch | PreferenceBatch) -> Score:
        """Scores one micro-batch: summed loss, summed nats, number of labels."""
        objective = self.scoring(batch)
        packed = batch.document_ids is not None
        with rows_are_packed() if packed else rows_are_unpacked():
            if self.own_forward_because:
                return self._own_forward(batch, objective)
            hidden = self._states(self.arguments(batch))  # B T D
        score: Score = objective.from_hidden(hidden, self.head, batch.labels)
        return score

    def arguments(self, batch: TokenBatch | PreferenceBatch) -> dict[str, Any]:
        """Gives what the network reads of a batch; documents are kept apart where it has them."""
        if batch.document_ids is not None:
            return packed_arguments(self.network, batch.input_ids, batch.document_ids)
        return {"input_ids": batch.input_ids, "use_cache": False}

    def body(self, input_ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        """Runs the network up to the vocabulary projection."""
        return self._states({"input_ids": input_ids, "use_cache": False})

    def _states(self, arguments: dict[str, Any]) -> Float[Tensor, "B T D"]:
        hidden: Float[Tensor, "B T D"] = self.network.base_model(**arguments).last_hidden_state
        return hidden

    def logits(self, input_ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Runs the network's own forward."""
        logits: Float[Tensor, "B T V"] = self.network(input_ids=input_ids, use_cache=False).logits
        return logits

    @property
    def head(self) -> nn.Module:
        """The vocabulary projection."""
        head: nn.Module = self.network.get_output_embeddings()
        return head

    def _head_width(self) -> int:
        weight = self.head.weight  # V D
        assert isinstance(weight, Tensor)
        return weight.shape[-1]

    def _own_forward(self, batch: TokenBatch | PreferenceBatch, objective: Objective) -> Score:
        output = self.network(**self.arguments(batch))
        score = objective.from_logits(output.logits, batch.labels)
        aux = getattr(output, "aux_loss", None)
        if aux is None or not self.network.config.output_router_logits:
            return score
        weighted = router_weight(self.network) * aux * score.n_labels
        return score._replace(loss=score.loss + weighted)

    @torch.no_grad()
    def check(self) -> str:
        """Compares body and head with the network's own logits, and decides which forward is run.

        Freshly drawn weights give logits too small to show a cap, so the states that reach the head
        are replaced by large ones: what the network makes of them is what it does after its body.

        Returns:
            Why the network's own forward is used, or an empty string.
        """
        self.own_forward_because = self._difference()
        return self.own_forward_because

    def _difference(self) -> str:
        config = self.network.config
        if getattr(config, "output_router_logits", False):
            router_weight(self.network)
            return (
                "its router adds a loss of its own, that of each micro-batch: another"
                " micro_batch_size changes the numbers a little"
            )
        if whole := _in_one(self.network):
            return whole
        device = self.network.get_input_embeddings().weight.device
        tokens = torch.arange(8, device=device).remainder(config.vocab_size)[None]  # 1 8
        mode = self.network.training
        self.network.eval()
        try:
            own, states = logits_of_large_states(
                self.network.base_model, lambda: self.logits(tokens)
            )
            if states is None:
                return "its forward does not run its base_model"
            if not torch.equal(states.received, self.body(tokens)):
                return "its forward gives its base_model other arguments"
            if self._head_width() != states.given.shape[-1]:
                return "its head does not take what its base_model gives"
            ours = self.head(states.given)
        finally:
            self.network.train(mode)
        return logits_apart(own, ours)


def _in_one(network: PreTrainedModel) -> str:
    """Says why a network has no body and head that could be run apart; empty where it has."""
    if network.get_output_embeddings() is None:
        return "it has no output embeddings"
    return "it has no body apart from its head" if network.base_model is network else ""


def router_weight(network: PreTrainedModel) -> float:
    """Tells how much the loss that balances a network's experts counts, as the network has it.

    Raises:
        ConfigError: It has no such loss.
    """
    for name in ("router_aux_loss_coef", "aux_loss_coef"):
        if (weight := getattr(network, name, None)) is not None:
            return float(weight)
    raise ConfigError(
        f"output_router_logits is true, and {type(network).__name__} has no loss that balances"
        " experts. Leave it out of network.config."
    )
