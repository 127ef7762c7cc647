"""Learning rates as pure functions of the optimizer step.

A schedule has no state and none is saved: the rate of step n is `peak * schedule.factor(n, total)`,
so a run that is resumed, or given more steps, needs nothing but n and the total.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

from roots.errors import ConfigError, nearest


class Schedule(ABC):
    """The learning rate of each optimizer step, as a fraction of the optimizer's peak rate."""

    @abstractmethod
    def factor(self, step: int, total_steps: int) -> float:
        """Gives the fraction of the peak rate, 0 to 1.

        Args:
            step: Optimizer steps completed before this one, from 0.
            total_steps: Optimizer steps of the whole run.
        """

    def check(self, total_steps: int) -> None:
        """Raises ConfigError when the schedule does not fit into `total_steps`."""


class Constant(Schedule):
    """Warms the learning rate up linearly, then keeps it.

    Args:
        warmup_steps: Optimizer steps until the peak; 0 leaves it to `warmup_fraction`.
        warmup_fraction: The warm-up's share of the run, 0 to 1; 0 leaves it to `warmup_steps`.

    Raises:
        ConfigError: Both are set, or one is outside its range.
    """

    def __init__(self, *, warmup_steps: int = 0, warmup_fraction: float = 0.0) -> None:
        self.warmup_steps = _not_negative("warmup_steps", warmup_steps)
        self.warmup_fraction = _fraction("warmup_fraction", warmup_fraction, "the run's steps")
        if warmup_steps and warmup_fraction:
            raise ConfigError(
                f"warmup_steps={warmup_steps:,} and warmup_fraction={warmup_fraction:g} both say"
                " how long the warm-up is. Leave out one of them."
            )

    def warmup(self, total_steps: int) -> int:
        """Gives the steps until the peak, in a run of `total_steps`."""
        return self.warmup_steps or round(self.warmup_fraction * total_steps)

    def factor(self, step: int, total_steps: int) -> float:
        """Gives the fraction of the peak rate."""
        return _warm(step, self.warmup(total_steps))

    def check(self, total_steps: int) -> None:
        """Raises ConfigError when the warm-up does not end before the run does."""
        warmup, most = self.warmup(total_steps), max(total_steps - 1, 0)
        if warmup >= total_steps:
            share = f"warmup_fraction={self.warmup_fraction:g}, {warmup:,} steps,"
            raise ConfigError(
                f"{share if self.warmup_fraction else f'warmup_steps={warmup:,}'} does not end"
                f" before the run's {total_steps:,} steps do. Set warmup_steps to at most {most:,},"
                " or train longer (trainer.max_steps)."
            )


class WarmupCosine(Constant):
    """Warms the learning rate up, then lets it fall along a cosine until the run ends.

    Args:
        warmup_steps: Optimizer steps until the peak; 0 leaves it to `warmup_fraction`.
        warmup_fraction: The warm-up's share of the run, 0 to 1; 0 leaves it to `warmup_steps`.
        floor: Final rate as a fraction of the peak, 0 to 1. The last step has it: with
            0 it changes nothing.
        decay_steps: Optimizer steps, warm-up included, until `floor`; 0 means all of the run's.

    Raises:
        ConfigError: `floor` is not a fraction, a number of steps is negative, or the decay ends
            before the warm-up does.

    Source:
        Loshchilov & Hutter, arXiv:1608.03983, eq. 5, without restarts.
    """

    def __init__(
        self,
        *,
        warmup_steps: int = 0,
        warmup_fraction: float = 0.0,
        floor: float = 0.1,
        decay_steps: int = 0,
    ) -> None:
        super().__init__(warmup_steps=warmup_steps, warmup_fraction=warmup_fraction)
        self.floor = _fraction("floor", floor)
        self.decay_steps = _not_negative("decay_steps", decay_steps)
        self._check_decay(warmup_steps)

    def factor(self, step: int, total_steps: int) -> float:
        """Gives the fraction of the peak rate."""
        warmup = self.warmup(total_steps)
        if step < warmup:
            return _warm(step, warmup)
        done = _progress(step, warmup, self.decay_steps or total_steps)
        return self.floor + (1 - self.floor) * self._shape(done)

    def check(self, total_steps: int) -> None:
        """Raises ConfigError when warm-up and decay do not follow each other within the run."""
        super().check(total_steps)
        self._check_decay(self.warmup(total_steps))

    def _check_decay(self, warmup: int) -> None:
        if 0 < self.decay_steps <= warmup:
            raise ConfigError(
                f"decay_steps={self.decay_steps:,} ends before the warm-up does"
                f" (warmup_steps={warmup:,}). Set decay_steps to at least {warmup + 1:,}, or to 0:"
                " all of the run."
            )

    def _shape(self, done: float) -> float:
        return 0.5 * (1 + math.cos(math.pi * done))


class WarmupLinear(WarmupCosine):
    """Warms the learning rate up, then lets it fall along a line until the run ends.

    Args:
        warmup_steps: Optimizer steps until the peak; 0 leaves it to `warmup_fraction`.
        warmup_fraction: The warm-up's share of the run, 0 to 1; 0 leaves it to `warmup_steps`.
        floor: Final rate as a fraction of the peak, 0 to 1. The last step has it: with
            0 it changes nothing.
        decay_steps: Optimizer steps, warm-up included, until `floor`; 0 means all of the run's.

    Source:
        Devlin et al., arXiv:1810.04805, appendix A.2.
    """

    def __init__(
        self,
        *,
        warmup_steps: int = 0,
        warmup_fraction: float = 0.0,
        floor: float = 0.0,
        decay_steps: int = 0,
    ) -> None:
        super().__init__(
            warmup_steps=warmup_steps,
            warmup_fraction=warmup_fraction,
            floor=floor,
            decay_steps=decay_steps,
        )

    def _shape(self, done: float) -> float:
        return 1 - done


class WarmupStableDecay(Constant):
    """Warms the learning rate up, keeps it, and lets it fall over the last steps of the run.

    Until the decay begins the rate does not depend on the length of the run, so one run can be
    continued from a checkpoint to several lengths.

    Args:
        warmup_steps: Optimizer steps until the peak; 0 leaves it to `warmup_fraction`.
        warmup_fraction: The warm-up's share of the run, 0 to 1; 0 leaves it to `warmup_steps`.
        decay_steps: Optimizer steps of the decay, the run's last; 0 leaves it to `decay_fraction`.
        decay_fraction: The decay's share of the run, 0 to 1; 0 leaves it to `decay_steps`, and
            where both are 0 a fifth of the run decays.
        shape: How it falls: `1-sqrt` (fast, then slowly), `linear` or `cosine`.
        floor: Final rate as a fraction of the peak, 0 to 1. The last step has it: with
            0 it changes nothing.

    Raises:
        ConfigError: Both lengths are set, one is outside its range, `shape` names nothing, or
            `floor` is not a fraction.

    Source:
        Hu et al., arXiv:2404.06395, section 4; `1-sqrt` and a fifth of the run: Hägele et al.,
        arXiv:2405.18392.
    """

    def __init__(
        self,
        *,
        warmup_steps: int = 0,
        warmup_fraction: float = 0.0,
        decay_steps: int = 0,
        decay_fraction: float = 0.0,
        shape: str = "1-sqrt",
        floor: float = 0.0,
    ) -> None:
        super().__init__(warmup_steps=warmup_steps, warmup_fraction=warmup_fraction)
        self.decay_steps = _not_negative("decay_steps", decay_steps)
        self.decay_fraction = decay_fraction
        _check_decay(decay_steps, decay_fraction)
        share = 0.0 if decay_steps else decay_fraction or 0.2
        if warmup_fraction + share > 1:
            raise ConfigError(
                f"warmup_fraction={warmup_fraction:g} and the decay's share of {share:g} are more"
                f" than the run. Set warmup_fraction to at most {1 - share:g}."
            )
        if shape not in SHAPES:
            raise ConfigError(
                f"There is no shape {shape!r}{nearest(shape, SHAPES)} of a decay."
                f" Set it to one of {', '.join(SHAPES)}."
            )
        self.shape = shape
        self.floor = _fraction("floor", floor)

    def factor(self, step: int, total_steps: int) -> float:
        """Gives the fraction of the peak rate."""
        length = self._length(total_steps)
        stable = total_steps - length  # steps before the decay
        warmup = self.warmup(total_steps)
        if step < max(stable, warmup):
            return _warm(step, warmup)
        done = min((step + 1 - stable) / length, 1.0)
        return self.floor + (1 - self.floor) * SHAPES[self.shape](done)

    def check(self, total_steps: int) -> None:
        """Raises ConfigError when warm-up and decay together are longer than the run."""
        length = self._length(total_steps)
        warmup = self.warmup(total_steps)
        if warmup + length > total_steps:
            raise ConfigError(
                f"warmup_steps={warmup:,} and the {length:,} steps of the decay do not"
                f" fit into the run's {total_steps:,} steps. Shorten one of them, or train for at"
                f" least {self._shortest(total_steps):,} steps (trainer.max_steps)."
            )

    def _length(self, total_steps: int) -> int:
        share = max(round((self.decay_fraction or 0.2) * total_steps), 1)
        return self.decay_steps or share

    def _shortest(self, total_steps: int) -> int:
        """Finds the shortest run, longer than `total_steps`, that both fit into."""
        while (needed := self.warmup(total_steps) + self._length(total_steps)) > total_steps:
            total_steps = needed
        return total_steps


SHAPES: dict[str, Callable[[float], float]] = {
    "1-sqrt": lambda done: 1 - math.sqrt(done),
    "linear": lambda done: 1 - done,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
}
"""What is left of the rate when a share of the decay is done."""


def _check_decay(steps: int, fraction: float) -> None:
    if not 0 <= fraction < 1:
        raise ConfigError(
            f"decay_fraction={fraction:g} is no share of a run that leaves room for what comes"
            " before the decay. Set it to at least 0 and less than 1."
        )
    if steps and fraction:
        raise ConfigError(
            f"decay_steps={steps:,} and decay_fraction={fraction:g} both say how long the decay is."
            " Set one of them to 0."
        )


def _warm(step: int, warmup_steps: int) -> float:
    """Climbs in equal strides: 1/n after nothing was done, 1 at step n - 1 and ever after."""
    return min((step + 1) / warmup_steps, 1.0) if warmup_steps else 1.0


def _progress(step: int, warmup_steps: int, end: int) -> float:
    """Share of a decay that is behind us: 0 at the peak, 1 from the last step on."""
    last = max(end - 1, warmup_steps + 1)
    return min((step - warmup_steps) / (last - warmup_steps), 1.0)


def _not_negative(name: str, value: int) -> int:
    if value < 0:
        raise ConfigError(f"{name}={value} is negative. It counts optimizer steps: set 0 or more.")
    return value


def _fraction(name: str, value: float, of: str = "the peak") -> float:
    if not 0 <= value <= 1:
        raise ConfigError(f"{name}={value:g} is not a fraction of {of}. Set it from 0 to 1.")
    return value
