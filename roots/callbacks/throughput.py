"""Tokens per second."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch


class Throughput:
    """A stopwatch that leaves out what is not training: validation, checkpoints, samples.

    A device works behind the host's back. A lap is taken where the host has just read a step's
    numbers, which is after the device made them; before something is left out, the host waits
    until the device has done the steps that it was given, because they are training.

    Args:
        now: The clock, in seconds.
        wait: Returns when the device has done what it was given.
    """

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.perf_counter,
        wait: Callable[[], None] = lambda: None,
    ) -> None:
        self.now = now
        self.wait = wait
        self.rates: list[float] = []
        self._since = now()
        self._aside = 0.0

    def start(self) -> None:
        """Starts an interval."""
        self._since, self._aside = self.now(), 0.0

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Leaves out the time of the block."""
        self.wait()
        before = self.now()
        try:
            yield
        finally:
            self._aside += self.now() - before

    def leave_out(self, seconds: float) -> None:
        """Leaves out some of the present interval."""
        self._aside += seconds

    def lap(self, n_tokens: int) -> float:
        """Ends an interval in which `n_tokens` were trained on, and starts the next.

        Returns:
            Tokens per second of the interval.
        """
        seconds = self.now() - self._since - self._aside
        rate = n_tokens / max(seconds, 1e-9)
        self.rates.append(rate)
        self.start()
        return rate

    def forget(self) -> None:
        """Forgets the intervals that ended: what comes is other work."""
        self.rates.clear()

    @property
    def median(self) -> float:
        """Median over the intervals; the first, which warms up, counts only when it is alone."""
        return statistics.median(self.rates[1:] or self.rates or [0.0])


def waiter(device: torch.device) -> Callable[[], None]:
    """Gives a function that returns when a device has done what it was given; a CPU always has."""
    if device.type == "cpu":
        return lambda: None
    return partial(torch.accelerator.synchronize, device)
