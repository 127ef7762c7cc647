"""Weights that a checkpoint only names; it is refused where others lie in their place."""

from __future__ import annotations

from typing import Any

from roots.networks import check_trained, trained_names


def name_weights(module: Any, checkpoint: dict[str, Any]) -> None:
    """Leaves the weights below an adapter out of a checkpoint; names those, and the teacher's."""
    if base := module.builder.base:
        kept = trained_names(module)
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {name: state[name] for name in state if name in kept}
        checkpoint["base"] = base.record
    if module.distiller and module.trainable.teacher:
        checkpoint["teacher"] = module.distiller.record


def check_weights(module: Any, checkpoint: dict[str, Any]) -> None:
    """Raises CheckpointError when the weights that a checkpoint names are not those of a module."""
    if base := module.builder.base:
        base.check(checkpoint.get("base"))
        check_trained(trained_names(module), set(checkpoint["state_dict"]))
    if module.distiller and module.trainable.teacher:
        module.distiller.check_saved(checkpoint.get("teacher"))
