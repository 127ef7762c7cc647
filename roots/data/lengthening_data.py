"""Data modules whose rows may begin short and get longer."""

from __future__ import annotations

from collections.abc import Sequence
from operator import floordiv
from typing import ClassVar

from roots.data.base import at_least
from roots.data.framed_cuts import framed_length
from roots.data.growing_data import GrowingData
from roots.data.lengthening import lengthening


class LengtheningData(GrowingData):
    """Cuts its rows into shorter ones in the first steps, where that is asked.

    Args:
        seq_len: Tokens in a row.
        sequences_per_step: Rows of one optimizer step over all ranks and micro-batches.
        first_sequences_per_step: Rows of the first steps; 0 begins with all.
        growing_steps: Optimizer steps until it has all.
        first_seq_len: Tokens of the pieces that a row of the first steps is cut into, `seq_len`
            halved some times; 0 begins with whole rows.
        lengthening_steps: Optimizer steps until they are whole.

    Raises:
        ConfigError: A number that cannot work.
    """

    framed: ClassVar[bool] = False
    """Whether special tokens frame a row, so that each piece of a cut one gets its own."""

    def __init__(
        self,
        *,
        seq_len: int,
        sequences_per_step: int,
        first_sequences_per_step: int = 0,
        growing_steps: int = 0,
        first_seq_len: int = 0,
        lengthening_steps: int = 0,
    ) -> None:
        super().__init__(
            seq_len=seq_len,
            sequences_per_step=sequences_per_step,
            first_sequences_per_step=first_sequences_per_step,
            growing_steps=growing_steps,
        )
        self.first_seq_len = at_least("first_seq_len", first_seq_len, 0)
        self.lengthening_steps = at_least("lengthening_steps", lengthening_steps, 0)
        self._lengthening = lengthening(
            first_seq_len,
            seq_len,
            lengthening_steps,
            length_of=framed_length if self.framed else floordiv,
        )

    # -- how long rows are ---------------------------------------------------------------------

    @property
    def lengths(self) -> Sequence[int]:
        """The lengths that training rows have in turn."""
        return self._lengthening.lengths if self._lengthening else super().lengths

    def length_at(self, step: int) -> int:
        """Counts the tokens of a training row of a step."""
        return self._lengthening.length(step) if self._lengthening else super().length_at(step)

    def cuts_at(self, step: int) -> int:
        """Counts the rows that each sequence of a step is cut into."""
        return self._lengthening.cuts(step) if self._lengthening else super().cuts_at(step)

    def read_per_token(self, length: int) -> float:
        """Counts what a network reads for each token of a sequence, in rows of a length."""
        if not self._lengthening:
            return super().read_per_token(length)
        return self._lengthening.cuts_into(length) * length / self.seq_len

    def tokens_by_length(self, first: int, stop: int) -> dict[int, int]:
        """Counts the tokens of the steps from `first` to before `stop`, by their rows' length."""
        if not self._lengthening:
            return super().tokens_by_length(first, stop)
        return {
            each.length: self.tokens_until(each.stop) - self.tokens_until(each.first)
            for each in self._lengthening.stretches(first, stop)
        }

    def begin_grown(self) -> None:
        """Gives the first steps all rows, too, each of its full length."""
        super().begin_grown()
        self._lengthening = None

    def forecast(self, total_steps: int) -> list[tuple[str, str]]:
        """Tells how long rows are, where that changes."""
        lines = super().forecast(total_steps)
        if self._lengthening:
            lines.append(("rows", self._lengthening.in_words(total_steps)))
        return lines

    def step_metrics(self, first: int, stop: int, rows: int) -> dict[str, float]:
        """Tells how long the rows of the last of some steps are, where that changes."""
        metrics = super().step_metrics(first, stop, rows)
        if self._lengthening:
            metrics["train/seq_len"] = float(self.length_at(max(stop - 1, 0)))
        return metrics
