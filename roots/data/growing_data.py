"""Data modules whose steps may begin with few rows and grow."""

from __future__ import annotations

from roots.data.base import StepData, at_least
from roots.data.growing import growing
from roots.data.steps import share_of
from roots.data.streams import InTurn, Order
from roots.errors import ConfigError


class GrowingData(StepData):
    """Takes its rows in turn, and more of them as the training goes on where that is asked.

    Args:
        seq_len: Tokens in a row.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.
        first_sequences_per_step: Rows of the first steps, a divisor of `sequences_per_step`, to
            which it grows in equal strides; 0 begins with all.
        growing_steps: Optimizer steps until then.

    Raises:
        ConfigError: A number that cannot work.
    """

    def __init__(
        self,
        *,
        seq_len: int,
        sequences_per_step: int,
        first_sequences_per_step: int = 0,
        growing_steps: int = 0,
    ) -> None:
        super().__init__(seq_len=seq_len, sequences_per_step=sequences_per_step)
        self.first_sequences_per_step = at_least(
            "first_sequences_per_step", first_sequences_per_step, 0
        )
        self.growing_steps = at_least("growing_steps", growing_steps, 0)
        self._growing = growing(first_sequences_per_step, sequences_per_step, growing_steps)

    @property
    def order(self) -> Order:
        """Which places of the stream each step has."""
        return self._growing or InTurn(self.sequences_per_step)

    @property
    def n_sizes(self) -> int:
        """Counts the sizes that steps have in turn; the rest behind full micro-batches differs."""
        return self._growing.full // self._growing.first if self._growing else 1

    @property
    def growth(self) -> str:
        """Says how the rows of a step grow, behind a comma; nothing where they do not."""
        if not self._growing:
            return ""
        first, steps = self.first_sequences_per_step, self.growing_steps
        return f", grown from {first:,} sequences over the first {steps:,} steps"

    def begin_grown(self) -> None:
        """Gives the first steps all rows, too; a step is then measured at its size."""
        self._growing = None

    def rows_until(self, step: int) -> int:
        """Counts the rows of the steps before `step`, over all ranks."""
        return self._growing.before(step) if self._growing else super().rows_until(step)

    def step_metrics(self, first: int, stop: int, rows: int) -> dict[str, float]:
        """Tells how many rows the last of some steps has, where that grows."""
        metrics = super().step_metrics(first, stop, rows)
        if self._growing:
            metrics["train/sequences_per_step"] = float(self._growing.size(max(stop - 1, 0)))
        return metrics

    def check_ranks(self, ranks: int, step: int) -> None:
        """Checks that the ranks divide the steps from `step` on, those that still grow as well."""
        super().check_ranks(ranks, step)
        grows, first = self._growing, self.first_sequences_per_step
        if not grows or step >= (even := grows.shared_from(ranks)):
            return
        if step == 0:
            share_of(first, rank=0, ranks=ranks, name="first_sequences_per_step")
        raise ConfigError(
            f"Until step {even:,} the sequences of a step are multiples of"
            f" first_sequences_per_step={first:,} that {ranks} ranks cannot share without a rest,"
            f" and the run goes on from step {step:,}. Go on until step {even:,} with a number of"
            f" ranks that divides {first:,}."
        )
