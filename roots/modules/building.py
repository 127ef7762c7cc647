"""Building a network with its loss, whole or in parts, and what works together with what."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from roots.errors import ConfigError
from roots.modules.randomness import seed_of
from roots.modules.settings import whole_settings
from roots.networks import check_causal
from roots.strategies import STRATEGIES, StepStrategy


def build_trainable(
    module: Any, *, seed: int, device: torch.device, strategy: StepStrategy | None
) -> Any:
    """Builds a network and puts the loss behind it: whole, or for a strategy that cuts it."""
    if strategy is not None and not strategy.builds_whole:
        return _build_sharded(module, seed=seed, strategy=strategy)
    network = module.builder.build(module.vocabulary, head=module.head, seed=seed, device=device)
    if not hasattr(network, "config"):
        raise ConfigError(
            f"{type(module.builder).__name__} builds a {type(network).__name__}, and what is"
            " trained is a network of transformers. Make it a transformers.PreTrainedModel, with"
            " its settings in a PretrainedConfig."
        )
    return _with_loss(module, network, seed=seed)


def _with_loss(module: Any, network: Any, *, seed: int) -> Any:
    """Puts the loss behind a network; what that has of weights is drawn under the seed as well."""
    on_gpu = [network.device] if network.device.type == "cuda" else []
    with torch.random.fork_rng(devices=on_gpu):
        torch.manual_seed(seed_of(seed, "beside the network"))
        return module.trainable_of(network)


def _build_sharded(module: Any, *, seed: int, strategy: StepStrategy) -> Any:
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
    trainable = _with_loss(module, network, seed=seed)
    strategy.shard(trainable, partial(builder.fill, vocabulary, seed=seed, head=head))
    if head.is_causal:
        trainable.within(partial(check_causal, network))
    return trainable


def step_strategy(trainer: Any) -> StepStrategy:
    """Gives a trainer's strategy, which raises ConfigError where it is none of ours."""
    strategy = trainer.strategy
    if not isinstance(strategy, StepStrategy):
        raise ConfigError(
            f"{type(strategy).__name__} cannot make an optimizer step of several micro-batches"
            f" here. Use roots.fit.Trainer, which takes the names {', '.join(STRATEGIES)}."
        )
    return strategy


def check_own(module: Any) -> None:
    """Raises ConfigError when weights or settings of a module of one's own would be lost."""
    whole_settings(module)  # now, and not when the first checkpoint is written
    names = [name for name, p in module.named_parameters() if p.requires_grad]
    beside = [name for name in names if not name.startswith("trainable.")]
    if beside:
        raise ConfigError(
            f"{type(module).__name__} has {len(beside)} weights beside its trainable ({beside[0]}),"
            " which no optimizer would step and no strategy cut. Put the layer into the module that"
            " trainable_of returns, or set its requires_grad to False."
        )


def check_together(module: Any, trainer: Any) -> None:
    """Raises ConfigError when settings of the module, or of the trainer, do not work together."""
    strategy = trainer.strategy
    compiled = getattr(module, "compiled", "none")
    if module.companion:
        module.companion.check_together(module, strategy, compiled)
    strategy.check(
        optimizer=module.optimizer_builder,
        precision=trainer.precision_plugin,
        compiled=compiled,
    )
    strategy.check_run(module, trainer.callbacks)
    for callback in trainer.callbacks:
        if hasattr(callback, "check_module"):
            callback.check_module(module)
    if not strategy.builds_whole:
        _check_cut_weights(module, trainer)


def _check_cut_weights(module: Any, trainer: Any) -> None:
    """Raises ConfigError when something needs a network that is whole on some rank."""
    strategy = trainer.strategy
    _check_cut_layers(module, strategy)
    for name in ("quantise", "adapter"):  # they are put on a network that is whole
        if setting := getattr(module.builder, name):
            raise ConfigError(
                f"{type(strategy).__name__} cuts the weights over the devices, which"
                f" {name}: {type(setting).__name__} does not survive. Leave out"
                f" network.{name}, or set trainer.strategy to ddp or single_device."
            )


def _check_cut_layers(module: Any, strategy: StepStrategy) -> None:
    """Raises ConfigError when ranks shall share layers, and those of a network cannot be cut."""
    if strategy.ranks_per_share == 1:
        return
    if not module.head.is_causal:
        raise ConfigError(
            f"tensor_parallel={strategy.ranks_per_share} lets ranks share the rows that they read,"
            f" which was tested for causal language models, and {type(module).__name__} trains a"
            f" {module.head.kind}. Set trainer.strategy to fsdp or ddp."
        )
    config = module.builder.network_config(module.vocabulary, module.head)
    strategy.check_network(module.builder.empty(config, module.head))
