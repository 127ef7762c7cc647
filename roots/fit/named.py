"""Strategy and precision of a run, from a name or an object of roots."""

from __future__ import annotations

import torch

from roots.errors import ConfigError
from roots.precision import StepPrecision, precision_named
from roots.strategies import StepStrategy, strategy_named


def step_strategy(
    strategy: str | StepStrategy, device: torch.device, n_processes: int
) -> StepStrategy:
    """Makes the strategy of a name, or gives back the one that was made.

    Raises:
        ConfigError: It is none of roots, or does not fit the devices.
    """
    if isinstance(strategy, StepStrategy):
        return strategy
    if not isinstance(strategy, str):
        raise ConfigError(
            f"{type(strategy).__name__} is a strategy of Lightning, without the step protocol"
            " of roots. Take the one of the same name from roots.strategies, or a name."
        )
    return strategy_named(strategy, device, n_processes)


def step_precision(precision: str | int | StepPrecision, device: torch.device) -> StepPrecision:
    """Makes the precision of a name, or readies the one that was made for a device.

    Raises:
        ConfigError: It is none of roots, or the device has no units for it.
    """
    if isinstance(precision, (str, int)):  # 32 without quotes is a number in YAML
        return precision_named(str(precision), device)
    if not isinstance(precision, StepPrecision):
        raise ConfigError(
            f"{type(precision).__name__} is a precision of Lightning, which the step by hand"
            " does not know. Take the one of the same name from roots.precision, or a name."
        )
    precision.use_device(device)
    return precision
