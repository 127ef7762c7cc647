"""An encoder and the loss of its hidden tokens in one forward pass."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from roots.batch import MaskedBatch, Score
from roots.networks.mlm_heads import MLMHead, split_mlm_head
from roots.networks.packing import packed_arguments
from roots.networks.root import Root
from roots.networks.unpacked import rows_are_packed, rows_are_unpacked


@runtime_checkable
class MaskedObjective(Protocol):
    """Scores hidden tokens at their places; what `roots.objectives.MaskedToken` does."""

    def from_hidden(
        self,
        hidden: Float[Tensor, "B T D"],
        head: Any,
        labels: Int[Tensor, "B T"],
        places: Int[Tensor, "S P"],
    ) -> Score:
        """Scores from the states and the head; S samples have as many rows each, B in all."""

    def from_logits(self, logits: Float[Tensor, "B T V"], labels: Int[Tensor, "B T"]) -> Score:
        """Scores from the logits."""


class MaskedTrainable(Root):
    """Runs body, head and loss inside one forward pass, the head on the hidden tokens alone.

    `check` proves that body and head, run apart, are the network's own forward; where they are
    not, that one is run, with the head on all positions.

    Args:
        network: A `transformers` masked language model.
        objective: Scores the hidden tokens.
    """

    def __init__(self, network: PreTrainedModel, objective: MaskedObjective) -> None:
        super().__init__()
        self.network = network
        self.objective = objective
        self.head: MLMHead | None = None
        """The parts of the network's head; a tuple, so that their weights are its alone."""
        self.own_forward_because = ""

    def forward(self, batch: MaskedBatch) -> Score:
        """Scores one micro-batch: summed loss, summed nats, number of hidden tokens."""
        objective: MaskedObjective = self.scoring(batch)
        packed = batch.document_ids is not None
        with rows_are_packed() if packed else rows_are_unpacked():
            arguments = self.arguments(batch)
            if self.head is None:
                logits = self.network(**arguments).logits  # B T V
                return objective.from_logits(logits, batch.labels)
            hidden = self.network.base_model(**arguments).last_hidden_state  # B T D
        return objective.from_hidden(hidden, self.head, batch.labels, batch.places_of_samples)

    def arguments(self, batch: MaskedBatch) -> dict[str, Any]:
        """Gives what the network reads of a batch.

        Given an attention mask, transformers looks whether it hides anything, and for that the host
        waits for the device: full rows go without.
        """
        if batch.document_ids is not None:
            return packed_arguments(self.network, batch.input_ids, batch.document_ids)
        if batch.attention_mask is not None and batch.is_filled_up:
            return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        return {"input_ids": batch.input_ids}

    def check(self) -> str:
        """Finds the head, and decides which forward is run.

        Returns:
            Why projection and loss are not one operation, or an empty string.
        """
        self.head, reason = split_mlm_head(self.network)
        if self.head is not None and (apart := self._difference(self.head)):
            self.head, reason = None, apart
        self.own_forward_because = reason if self.head is None else ""
        return reason

    @torch.no_grad()
    def _difference(self, head: MLMHead) -> str:
        """Says how body and head differ from the network's own forward on a few tokens."""
        device = self.network.get_input_embeddings().weight.device
        tokens = torch.arange(8, device=device).remainder(self.network.config.vocab_size)[None]
        mode = self.network.training
        self.network.eval()
        try:
            own = self.network(input_ids=tokens).logits.float()
            hidden = self.network.base_model(input_ids=tokens).last_hidden_state
            apart = (head.projection(head.transform(hidden)).float() - own).abs().max()
        finally:
            self.network.train(mode)
        tolerance = 1e-4 if self.network.dtype.itemsize >= 4 else 2e-2
        if apart <= tolerance * own.abs().max().clamp(min=1e-6):
            return ""
        return "its forward gives its base_model other arguments"
