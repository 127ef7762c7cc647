"""The module that strategies wrap: a network and its loss, run in one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from roots.networks.experts import let_experts_follow_autocast

R = TypeVar("R")


class Root(nn.Module):
    """A network with its loss; weights that are sharded are whole while its forward runs."""

    def __init__(self) -> None:
        super().__init__()
        let_experts_follow_autocast()

    network: Any
    """A `PreTrainedModel`."""

    objective: Any
    """Scores what the network makes of a batch."""

    companion: Any = None
    """Makes, of the objective and a batch, one that knows what another network says of the batch;
    no module, so that it is in no checkpoint."""

    def scoring(self, batch: Any) -> Any:
        """Gives what scores a batch: the objective, beside a companion's word where one is."""
        return self.objective if self.companion is None else self.companion(self.objective, batch)

    def dismiss(self) -> None:
        """Lets the companion go, where there is one."""
        if self.companion is not None:
            self.companion.leave()
        self.companion = None

    def within(self, function: Callable[[], R]) -> R:
        """Calls a function as a forward pass, so that sharded weights are whole while it runs.

        Everything that runs the network outside `forward` goes through here; where the weights are
        sharded, all ranks come here at once.
        """
        return function()
