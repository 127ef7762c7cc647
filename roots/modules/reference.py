"""The network as it was before training, asked about every batch of pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import torch

from roots.errors import CheckpointError, ConfigError
from roots.modules.companion import Companion
from roots.networks import BaseWeights, NetworkBuilder, Pretrained, adapter_off
from roots.objectives import AnswerSums


class Reference(Companion):
    """Says how likely answers were before training.

    It is built anew from what the run started with, also where a run goes on, and drops nothing.
    Where an adapter is trained, it is the same network with the adapter off, and takes no memory.

    Args:
        builder: Builds the network that is trained.
    """

    name: ClassVar[str] = "reference"
    is_cut_too: ClassVar[bool] = True

    def __init__(self, builder: NetworkBuilder) -> None:
        self.builder = builder
        self._start: BaseWeights | None = None

    # -- before the run ----------------------------------------------------------------------

    def speaks_in(self, verb: str | None) -> bool:
        """Tells that it is asked always: what is predicted are rewards as well."""
        del verb
        return True

    def check_together(self, module: Any, strategy: Any, compiled: str) -> None:
        """Raises ConfigError where a second network cannot be cut as the first is."""
        del compiled
        if strategy.ranks_per_share > 1:
            raise ConfigError(
                f"tensor_parallel={strategy.ranks_per_share} is not tried with the second network"
                f" that {type(module).__name__} compares with. Set tensor_parallel to 1, or"
                " trainer.strategy to ddp."
            )

    def planned(self, module: Any, data: Any) -> str:
        """Says what it is."""
        del module, data
        if self.builder.adapter:
            return "the network without its adapter, which takes no memory of its own"
        return "a second network with the weights before training"

    def empty(self, module: Any) -> Any:
        """Makes it without weights; None where it is the network without its adapter."""
        if self.builder.adapter:
            return None
        config = self.builder.network_config(module.vocabulary, module.head)
        return self.builder.empty(config, module.head)

    def engage(self, module: Any, trainer: Any) -> str:
        """Builds it as the network was built, and lets it speak of every batch."""
        if self.builder.adapter:
            self.join(module.trainable, None, _as_in(module.trainable))
            return "reference: the network without its adapter"
        strategy, seed = trainer.strategy, int(trainer.seed)
        if strategy.builds_whole:
            network = self.builder.build(
                module.vocabulary, seed=seed, device=strategy.root_device, head=module.head
            )
            network = trainer.precision_plugin.convert_module(network)
            self.join(module.trainable, network, _as_in(module.trainable))
        else:
            network = self.builder.skeleton(module.vocabulary, head=module.head)
            asked = self.join(module.trainable, network, _as_in(module.trainable))
            fill = partial(self.builder.fill, module.vocabulary, seed=seed, head=module.head)
            strategy.shard(asked.trainable, fill, beside=True)
        size = sum(p.numel() for p in network.parameters())
        return f"reference: the network before training, {size:,} parameters"

    def join(self, trainable: Any, network: Any, decide: Callable[[Any], Any]) -> Asked:
        """Lets it speak of every batch that a trainable is scored on."""
        mine = network is not None
        if mine:
            network.requires_grad_(False)
        asked = type(trainable)(network if mine else trainable.network, AnswerSums())
        decide(asked)
        companion = Asked(asked.eval() if mine else asked, shares=not mine)
        trainable.companion = companion
        return companion

    # -- checkpoints -------------------------------------------------------------------------

    @property
    def record(self) -> dict[str, str]:
        """Where the weights before training lie, and their sum; nothing where they are drawn.

        Below an adapter, checkpoints name them anyway.
        """
        if not isinstance(self.builder, Pretrained) or self.builder.adapter:
            return {}
        if self._start is None:  # reads all the files
            self._start = BaseWeights.of(self.builder.path, self.builder.revision)
        return self._start.record

    def check_saved(self, saved: Mapping[str, str] | None) -> None:
        """Raises CheckpointError when a checkpoint was compared with other weights."""
        now = self.record
        if saved and now and saved["sha256"] != now["sha256"]:
            raise CheckpointError(
                f"The checkpoint was compared with the weights of {saved['path']}"
                f" ({saved['sha256'][:12]}), and those at {now['path']} are others now"
                f" ({now['sha256'][:12]}): its rewards would be nobody's. Bring the old ones back"
                " (network.path, network.revision), or start a new run."
            )


class Asked:
    """A reference that is asked about a batch; no module, so that nothing trains or saves it.

    Args:
        trainable: The network, run as the one that is trained, which says how likely answers are.
        shares: It is the network that is trained itself, without its adapter.
    """

    def __init__(self, trainable: Any, *, shares: bool) -> None:
        self.trainable = trainable
        self.shares = shares

    @torch.no_grad()
    def __call__(self, objective: Any, batch: Any) -> Any:
        """Makes an objective that knows how likely the answers of a batch were."""
        if not self.shares:
            return objective.beside(self.trainable(batch).outputs)
        with _as_before(self.trainable.network):
            said = self.trainable(batch).outputs
        return objective.beside(said)

    def leave(self) -> None:
        """Leaves the network as it is: there is nothing of it in there."""


@contextmanager
def _as_before(network: Any) -> Iterator[None]:
    """Switches adapter and dropout off while the block runs."""
    mode = network.training
    network.eval()
    try:
        with adapter_off(network):
            yield
    finally:
        network.train(mode)


def _as_in(trainable: Any) -> Callable[[Any], None]:
    """Gives what lets a second trainable run the forward that a first one was found to need."""

    def decide(other: Any) -> None:
        other.own_forward_because = trainable.own_forward_because

    return decide
