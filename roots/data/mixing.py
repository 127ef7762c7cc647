"""What a run draws from each corpus of a mixture: before it as a table, in it as metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roots.data.blending import Blend
from roots.data.mixture import Changes
from roots.data.opened_corpus import Size
from roots.data.phases import phases_until, unused, way_to_change
from roots.data.streams import Blended, Order
from roots.errors import CheckpointError

MANY_EPOCHS = 4
"""Up to so many epochs, tokens that are repeated are worth nearly what new ones are: Muennighoff et
al., "Scaling data-constrained language models", arXiv:2305.16264."""

COLUMNS = ("corpus", "tokens", "share", "drawn", "epochs")


class Mixing:
    """Counts what is drawn from each corpus of a mixture until any step.

    Args:
        sizes: What there is of each corpus, by its name.
        blend: Says which corpus each row is drawn from.
        order: Says which rows each step has.
        seq_len: Tokens of a row.
        changes: The weights, each with the step from which on they hold.
    """

    def __init__(
        self,
        sizes: Mapping[str, Size],
        blend: Blend,
        *,
        order: Order,
        seq_len: int,
        changes: Changes,
    ) -> None:
        self.sizes = sizes
        self.blend = blend
        self.changes = changes
        self.order = order
        self.seq_len = seq_len

    def stream(self, seed: int) -> Blended:
        """Gives the rows of the run in their order."""
        return Blended(self.blend, {name: s.rows for name, s in self.sizes.items()}, seed)

    def drawn(self, step: int) -> dict[str, int]:
        """Counts the rows of each corpus in the steps before `step`."""
        counts = self.blend.counts(self.order.before(step))
        return dict(zip(self.sizes, counts, strict=True))

    def epochs(self, step: int) -> dict[str, float]:
        """Tells how often each corpus was read before `step`."""
        return {name: n / self.sizes[name].rows for name, n in self.drawn(step).items()}

    def metrics(self, step: int) -> dict[str, float]:
        """Tells of each corpus how many tokens were read before `step`, and how often."""
        tokens = {
            f"train/{name}/tokens_seen": float(n * self.seq_len)
            for name, n in self.drawn(step).items()
        }
        return tokens | {f"train/{name}/epochs": n for name, n in self.epochs(step).items()}

    def table(self, total_steps: int) -> list[str]:
        """Lays out what there is, and what a run of so many steps draws; then what to know of it.

        Numbers of tokens, and the share of a corpus among all that are drawn.
        """
        epochs, n_rows = self.epochs(total_steps), self.order.before(total_steps)
        rows = [COLUMNS]
        for name, n in self.drawn(total_steps).items():
            tokens, drawn = f"{self.sizes[name].tokens:,}", f"{n * self.seq_len:,}"
            rows.append((name, tokens, f"{n / n_rows:.2%}", drawn, f"{epochs[name]:.2f}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [*(_laid_out(row, widths) for row in rows), *self.remarks(total_steps)]

    def remarks(self, total_steps: int) -> list[str]:
        """Says what one should know of a run: which corpora run out, and which are read too often.

        Source:
            Muennighoff et al., arXiv:2305.16264, section 6.
        """
        names, n_rows = list(self.sizes), self.order.before(total_steps)
        used_up = [
            f"{names[k]} reaches its max_epochs with row {place:,} of the run's {n_rows:,}; the"
            " others get its share from there on"
            for k, place in self.blend.used_up.items()
            if place < n_rows
        ]
        repeated = [
            f"{name} is read {epochs:.1f} times: more than {MANY_EPOCHS} epochs help less and less"
            " (arXiv:2305.16264); lower its weight, or set max_epochs"
            for name, epochs in self.epochs(total_steps).items()
            if epochs > MANY_EPOCHS
        ]
        return [*unused(self.changes, total_steps), *used_up, *repeated]

    def state(self, step: int) -> dict[str, Any]:
        """Notes for a resumed run what was drawn, and how; nothing of it is needed to go on."""
        return {
            "step": step,
            "drawn": self.drawn(step),
            "phases": phases_until(step, self.changes),
        }

    def check(self, state: Mapping[str, Any]) -> None:
        """Checks that what was drawn until a checkpoint is what this mixture draws until then.

        Raises:
            CheckpointError: It is not: some rows would come twice, and others never.
        """
        step, then = int(state["step"]), dict(state["drawn"])
        if (now := self.drawn(step)) != then:
            raise CheckpointError(
                f"Until step {step:,} this mixture draws {_counted(now)} rows, and the run drew"
                f" {_counted(then)}: some rows would come twice. Leave weights, phases, weigh_by,"
                " temperature and max_epochs as they were; to change the weights from there on,"
                f" {way_to_change(step, state.get('phases'), self.changes)}"
            )


def _laid_out(row: tuple[str, ...], widths: list[int]) -> str:
    name, *numbers = row
    cells = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
    return "  ".join([name.ljust(widths[0]), *cells])


def _counted(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items())
