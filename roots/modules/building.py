"""Building a network that no rank ever holds whole, and what works together with what."""

from __future__ import annotations

from functools import partial
from typing import Any

from roots.networks import NetworkBuilder, Trainable, check_causal
from roots.networks.trainable import Objective
from roots.records import Vocabulary
from roots.strategies import StepStrategy


def build_sharded(
    builder: NetworkBuilder,
    objective: Objective,
    vocabulary: Vocabulary,
    *,
    seed: int,
    strategy: StepStrategy,
) -> Trainable:
    """Builds a network without weights, lets the strategy cut it, and then fills and checks it.

    Args:
        builder: Makes the network.
        objective: Scores the labelled positions.
        vocabulary: The data's tokens.
        seed: Decides the random weights, which are those of a network that is built whole.
        strategy: Cuts it; all ranks come here at once.
    """
    network = builder.skeleton(vocabulary)
    trainable = Trainable(network, objective)
    strategy.shard(trainable, partial(builder.fill, vocabulary, seed=seed))
    trainable.within(partial(check_causal, network))
    return trainable


def check_together(module: Any, trainer: Any) -> None:
    """Raises ConfigError when the trainer's strategy cannot run the module's settings."""
    trainer.strategy.check(
        optimizer=module.optimizer_builder,
        precision=trainer.precision_plugin,
        compiled=module.compiled,
    )
