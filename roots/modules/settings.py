"""The settings of a module: which are refused, and how they are written down."""

from __future__ import annotations

import inspect
from typing import Any

from roots.errors import ConfigError
from roots.records import class_path, plain


def check_clip_norm(clip_norm: float) -> None:
    """Raises ConfigError when nothing would be left of a gradient."""
    if not clip_norm > 0:
        raise ConfigError(
            f"clip_norm={clip_norm:g} would stop all learning."
            " Set model.clip_norm above 0; 1.0 is usual, .inf clips nothing."
        )


def check_rate(optimizer: Any) -> None:
    """Raises ConfigError when there is nothing that a schedule could be a fraction of."""
    if not hasattr(optimizer, "learning_rate"):
        raise ConfigError(
            f"{type(optimizer).__name__} has no learning_rate, of which the schedule gives a"
            " fraction in each step. Keep it in __init__: self.learning_rate = ...."
        )


def shared_settings(module: Any) -> dict[str, Any]:
    """Gives the plain form of the arguments that every module has."""
    settings = {
        "network": plain(module.builder),
        "optimizer": plain(module.optimizer_builder),
        "schedule": plain(module.schedule),
        "micro_batch_size": "auto" if module.seeks_rows else module.micro_batch_size,
        "clip_norm": module.clip_norm,
    }
    return settings | ({"distiller": plain(module.distiller)} if module.distiller else {})


def whole_settings(module: Any) -> dict[str, Any]:
    """Gives the plain form of all arguments: `settings`, and what is kept under its own name.

    Raises:
        ConfigError: An argument is neither there nor kept, so that no checkpoint could have it.
    """
    settings: dict[str, Any] = dict(module.settings)
    for name, argument in inspect.signature(type(module)).parameters.items():
        if name in settings or argument.kind in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL):
            continue
        if not hasattr(module, name):
            raise ConfigError(
                f"{class_path(type(module))} does not keep its argument {name}, so that neither"
                f" config.yaml nor a checkpoint could say it. Keep it in __init__: self.{name} ="
                f" {name}."
            )
        kept = getattr(module, name)
        if kept is not None or argument.default is not None:  # nothing, as without being asked
            settings[name] = plain(kept)
    return settings
