"""The base of all metrics: states that add up, and one way to ask for the values."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from roots.errors import ConfigError


class SummedMetric(Metric, ABC):
    """A metric of sums and counts: `update` adds a batch, `values` tells, `reset` starts again.

    A subclass adds its states with `dist_reduce_fx` "sum" or "cat", and says in `_values` what
    follows from them. States keep their precision when the module that holds the metric is
    moved to a lower one; MPS has no float64, so that sums are float32 there.
    """

    full_state_update = False  # a batch's own value needs no second update

    def values(self) -> dict[str, float]:
        """Gives the values over all rows and ranks; every rank must ask."""
        with self._over_ranks():
            return self._values()

    def details(self) -> dict[str, Any]:
        """Gives what is no single number (for figures), as plain lists; every rank must ask."""
        with self._over_ranks():
            return self._details()

    def compute(self) -> dict[str, float]:
        """Gives what `values` gives, as torchmetrics' collections ask for it."""
        return self._values()

    @abstractmethod
    def _values(self) -> dict[str, float]:
        """Makes the values from the states, which hold all ranks' rows."""

    def _details(self) -> dict[str, Any]:
        """Makes the details from the states, which hold all ranks' rows."""
        return {}

    @property
    def exact(self) -> torch.dtype:
        """The most precise float type of the device: float64, or float32 on MPS."""
        return _exact(self.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> Any:
        """Moves the states with the module; `fn` may say another device, but no other precision."""
        device = fn(torch.zeros(1, device=self.device)).device
        super()._apply(lambda state: _moved(state, device), exclude_state)
        return self

    @contextmanager
    def _over_ranks(self) -> Iterator[None]:
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self.sync_on_compute):
            yield


def logged_names(names: Sequence[str], *, of: str, fewest: int = 1) -> list[str]:
    """Makes names that a logger takes: no white space and no slash.

    Raises:
        ConfigError: Fewer than `fewest` names, or two that would be logged as one.
    """
    logged = [re.sub(r"[\s/]+", "_", name) for name in names]
    if len(logged) < fewest:
        raise ConfigError(
            f"{len(logged)} {of} is too few to measure anything: names={list(names)}."
            f" Give the names of all {of}, {fewest} or more, in the order of their numbers."
        )
    first: dict[str, str] = {}
    for name, short in zip(names, logged, strict=True):
        if short in first:
            raise ConfigError(
                f"The {of} {first[short]!r} and {name!r} would both be logged as {short!r}."
                " Give each another name."
            )
        first[short] = name
    return logged


def _exact(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64


def _moved(state: Tensor, device: torch.device) -> Tensor:
    if state.dtype == torch.float64:
        return state.to(_exact(device)).to(device)  # MPS refuses float64, so the type comes first
    return state.to(device)
