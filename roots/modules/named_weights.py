"""What of a module's weights a checkpoint has, what it only names, and what lies beside both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from roots.errors import CheckpointError
from roots.networks import check_trained, trained_names


def name_weights(module: Any, checkpoint: dict[str, Any]) -> None:
    """Leaves the weights below an adapter out of a checkpoint; names those, and a companion's."""
    if base := module.builder.base:
        kept = trained_names(module)
        state = checkpoint["state_dict"]
        kept |= beside_network(module).keys()
        checkpoint["state_dict"] = {name: state[name] for name in state if name in kept}
        checkpoint["base"] = base.record
    if module.companion and module.trainable.companion:
        checkpoint[module.companion.name] = module.companion.record


def check_weights(module: Any, checkpoint: dict[str, Any]) -> None:
    """Raises CheckpointError when the weights that a checkpoint names are not those of a module."""
    if base := module.builder.base:
        base.check(checkpoint.get("base"))
        beside = beside_network(module).keys()
        check_trained(trained_names(module) | beside, set(checkpoint["state_dict"]))
    if module.companion and module.trainable.companion:
        module.companion.check_saved(checkpoint.get(module.companion.name))


def beside_network(module: Any) -> dict[str, Tensor]:
    """Gives what a module trains beside its network, by its names in a checkpoint."""
    state = module.state_dict(keep_vars=True)
    whose = [name for name in state if name.startswith("trainable.")]
    return {name: state[name] for name in whose if not name.startswith("trainable.network.")}


@torch.no_grad()
def load_beside(module: Any, saved: Mapping[str, Tensor], file: Path) -> None:
    """Gives a module what it trained beside its network.

    Raises:
        CheckpointError: The file lacks something of it, or has it in another shape.
    """
    for name, tensor in beside_network(module).items():
        if name not in saved or saved[name].shape != tensor.shape:
            there = f"has it as {tuple(saved[name].shape)}" if name in saved else "lacks it"
            raise CheckpointError(
                f"{type(module).__name__} has the weight {name} {tuple(tensor.shape)}, and"
                f" {file} {there}. Use the class that the run was trained with, or another"
                " checkpoint of the run."
            )
        tensor.copy_(saved[name])
