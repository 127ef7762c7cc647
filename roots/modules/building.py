"""Building a network that no rank ever holds whole, and what works together with what."""

from __future__ import annotations

from functools import partial
from typing import Any

from roots.errors import ConfigError
from roots.networks import check_causal
from roots.strategies import StepStrategy


def build_sharded(module: Any, *, seed: int, strategy: StepStrategy) -> Any:
    """Builds a network without weights, lets the strategy cut it, and then fills and checks it.

    Args:
        module: Says which builder, head and loss; it has learned of its data.
        seed: Decides the random weights, which are those of a network that is built whole.
        strategy: Cuts it; all ranks come here at once.

    Returns:
        The network with its loss, as the module makes it.
    """
    builder, vocabulary, head = module.builder, module.vocabulary, module.head
    network = builder.skeleton(vocabulary, head=head)
    trainable = module.trainable_of(network)
    strategy.shard(trainable, partial(builder.fill, vocabulary, seed=seed, head=head))
    if head.is_causal:
        trainable.within(partial(check_causal, network))
    return trainable


def check_clip_norm(clip_norm: float) -> None:
    """Raises ConfigError when nothing would be left of a gradient."""
    if not clip_norm > 0:
        raise ConfigError(
            f"clip_norm={clip_norm:g} would stop all learning."
            " Set model.clip_norm above 0; 1.0 is usual, .inf clips nothing."
        )


def check_together(module: Any, trainer: Any) -> None:
    """Raises ConfigError when settings of the module, or of the trainer, do not work together."""
    if module.distiller and (loss := getattr(module, "loss", "plain")) not in ("fused", "plain"):
        raise ConfigError(
            f"loss: {loss} knows no teacher. Set model.loss to fused or plain, or leave out"
            " model.distiller."
        )
    strategy = trainer.strategy
    strategy.check(
        optimizer=module.optimizer_builder,
        precision=trainer.precision_plugin,
        compiled=getattr(module, "compiled", "none"),
    )
    strategy.check_run(module, trainer.callbacks)
    if strategy.builds_whole:
        return
    if module.distiller:
        raise ConfigError(
            f"{type(strategy).__name__} cuts the weights over the devices, and a teacher is whole"
            " on each. Leave out model.distiller, or set trainer.strategy to ddp or single_device."
        )
    for callback in trainer.callbacks:
        if getattr(callback, "writes_with_whole_network", False):
            raise ConfigError(
                f"{type(callback).__name__} lets every rank write targets of its own rows, and"
                f" {type(strategy).__name__} cuts the weights over the devices: none has a network"
                " that could. Leave it out of trainer.callbacks and write when the run is done"
                " (roots predict --run RUN --trainer.strategy auto), or set trainer.strategy to"
                " ddp or single_device."
            )
    for name in ("quantise", "adapter"):  # they are put on a network that is whole
        if setting := getattr(module.builder, name):
            raise ConfigError(
                f"{type(strategy).__name__} cuts the weights over the devices, which"
                f" {name}: {type(setting).__name__} does not survive. Leave out"
                f" network.{name}, or set trainer.strategy to ddp or single_device."
            )
