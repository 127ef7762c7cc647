"""The module that strategies wrap: a network and its loss, run in one forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

R = TypeVar("R")


class Root(nn.Module):
    """A network with its loss; weights that are sharded are whole while its forward runs."""

    def within(self, function: Callable[[], R]) -> R:
        """Calls a function as a forward pass, so that sharded weights are whole while it runs.

        Everything that runs the network outside `forward` goes through here; where the weights are
        sharded, all ranks come here at once.
        """
        return function()
