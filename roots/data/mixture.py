"""Mixture: several corpora for one data module, in stated shares that may change with the steps."""

from __future__ import annotations

import bisect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from roots.data.blending import FOREVER, Blend, exact
from roots.data.opened_corpus import OpenedCorpus, Size
from roots.data.streams import Order
from roots.errors import ConfigError, nearest
from roots.shards import ShardMaker, Streamed

RAREST = Fraction(1, 10**6)
"""No corpus may have less of the rows: a block, which has one of each, is kept in memory."""

UNITS = ("tokens", "documents")

Changes = list[tuple[int, Mapping[str, float]]]
"""Weights of corpora, each with the optimizer steps that are done when they begin to hold."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of a training with the same weights.

    Args:
        weights: Of each corpus, by its name, 0 or more; a corpus that is left out has none.
        until_step: Optimizer steps that are done when it ends; 0 leaves it to `until_fraction`.
        until_fraction: The same as a share of the run, 0 to 1. The last phase has neither: it ends
            with the run.
    """

    weights: dict[str, float]
    until_step: int = 0
    until_fraction: float = 0.0

    @property
    def spec(self) -> dict[str, Any]:
        """The plain form."""
        return {
            "weights": dict(self.weights),
            "until_step": self.until_step,
            "until_fraction": self.until_fraction,
        }

    def end(self, total_steps: int) -> int:
        """Gives the step that the phase ends before, in a run of `total_steps`; 0 for its end."""
        return self.until_step or round(self.until_fraction * total_steps)


class Mixture:
    """Takes several corpora of the same tokenizer, instead of one, in stated shares.

    The shares are kept exactly, without chance: after any whole number of blocks each corpus has
    had its share to within one row. A block is an optimizer step, or as many as the rarest corpus
    needs for one row. Each corpus is shuffled anew in each of its own epochs.

    Args:
        corpora: By a name of your choice (letters, digits, `_`, `-`), which metrics will have: a
            folder of shards, its URL, or the corpus that makes one. They are made in this order, so
            a later one can take the tokenizer of the first (`roots.corpus.Existing`).
        weights: Of each corpus, by its name: 3 and 1 are three quarters and one. Empty takes the
            sizes, so that with a temperature of 1 each is read equally often.
        weigh_by: What the weights are shares of: `tokens` of the rows that are trained on, or
            `documents`, where a corpus of longer ones gets more tokens for the same weight.
        temperature: Weights are taken to the power 1 / temperature: 1 leaves them as they are,
            more makes small corpora more frequent, .inf all equally frequent.
        max_epochs: The most epochs of a corpus, by its name; then the others get its share, in
            proportion to their weights. Those that are not named have no limit.
        phases: Weights that change in the course of the training, in place of `weights`.

    Raises:
        ConfigError: A name that is no corpus, a weight, temperature or limit that cannot work, or
            phases that do not follow on each other.

    Source:
        Temperature: Raffel et al., arXiv:1910.10683, section 3.5.2.
    """

    def __init__(
        self,
        *,
        corpora: dict[str, str | ShardMaker | Streamed],
        weights: dict[str, float] | None = None,
        weigh_by: str = "tokens",
        temperature: float = 1.0,
        max_epochs: dict[str, float] | None = None,
        phases: list[Phase] | None = None,
    ) -> None:
        self.corpora = corpora
        self.weights = dict(weights or {})
        self.weigh_by = weigh_by
        self.temperature = temperature
        self.max_epochs = dict(max_epochs or {})
        self.phases = list(phases or [])
        self._check_names()
        self._check_numbers()
        self._check_phases()

    def blend(
        self, sizes: Mapping[str, Size], *, total_steps: int, order: Order, unit: int
    ) -> Blend:
        """Says which corpus each row of a run is drawn from.

        Args:
            sizes: Of each corpus.
            total_steps: Optimizer steps of the run.
            order: Says how many rows there are until a step.
            unit: Rows of a full step: a block has so many, or a multiple.

        Raises:
            ConfigError: A corpus is too rare, phases do not follow on each other in a run of that
                length, or `max_epochs` leaves too little for it.
        """
        each = [
            (order.before(step), self._relative(weights, sizes))
            for step, weights in self.changes(total_steps, sizes)
        ]
        rows = {
            name: self.max_epochs.get(name, FOREVER) * size.rows for name, size in sizes.items()
        }
        limits = [max(int(min(most, FOREVER)), 1) for most in rows.values()]
        blend = Blend(each, limits=limits, unit=unit)
        if blend.end < (n_rows := order.before(total_steps)):
            fits = bisect.bisect_right(range(total_steps), blend.end, key=order.before) - 1
            raise ConfigError(
                f"The run's {total_steps:,} steps need {n_rows:,} rows, and"
                f" max_epochs leaves {blend.end:,}: {_listed(self.max_epochs)}. Raise it, or set"
                f" trainer.max_steps to at most {fits:,}."
            )
        return blend

    def _relative(self, weights: Mapping[str, float], sizes: Mapping[str, Size]) -> list[Fraction]:
        """Gives how frequent the rows of each corpus are: as its weight, or its size, asks."""
        by_documents = self.weigh_by == "documents"
        given = [weights.get(name, 0) for name in sizes]
        relative = exact(given, self.temperature)
        if by_documents:
            in_rows = (Fraction(size.rows, size.documents) for size in sizes.values())
            relative = [weight * rows for weight, rows in zip(relative, in_rows, strict=True)]
        total = sum(relative)
        for name, each in zip(sizes, relative, strict=True):
            if 0 < each < RAREST * total:
                raise ConfigError(
                    f"Of {float(total / each):,.0f} rows one would be of {name}: at least one in"
                    f" {RAREST.denominator:,} must be. Raise its weight, or set it to 0."
                )
        return relative

    def changes(self, total_steps: int, sizes: Mapping[str, Size]) -> Changes:
        """Gives the weights of a run of so many steps, each with the step from which on they hold.

        Raises:
            ConfigError: The phases do not follow on each other.
        """
        if not self.phases:
            by_size = {
                name: int(size.documents if self.weigh_by == "documents" else size.rows)
                for name, size in sizes.items()
            }
            return [(0, self.weights or by_size)]
        ends = [phase.end(total_steps) for phase in self.phases[:-1]]
        if ends != sorted(ends):
            raise ConfigError(
                f"The phases end at the steps {', '.join(map(str, ends))} of {total_steps:,}, which"
                " do not rise. Put them in the order of their ends."
            )
        weights = (phase.weights for phase in self.phases)
        return list(zip([0, *ends], weights, strict=True))

    # -- checks --------------------------------------------------------------------------------

    def _check_names(self) -> None:
        if not self.corpora:
            raise ConfigError("A mixture of no corpora was asked for. Name at least one.")
        for name in self.corpora:
            if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
                raise ConfigError(
                    f"A corpus cannot be called {name!r}, because metrics are named after it. Use"
                    " letters, digits, _ and -."
                )
        for phase in self.phases:
            self._check_named("phases", phase.weights)
        self._check_named("weights", self.weights)
        self._check_named("max_epochs", self.max_epochs)
        missing = [name for name in self.corpora if self.weights and name not in self.weights]
        if missing:
            raise ConfigError(
                f"weights say nothing of {', '.join(missing)}. Give each corpus one, 0 to leave it"
                " out, or none at all: then their sizes count."
            )

    def _check_named(self, argument: str, given: Mapping[str, float]) -> None:
        for name in given:
            if name not in self.corpora:
                raise ConfigError(
                    f"{argument} names {name!r}{nearest(name, list(self.corpora))}, which is none"
                    f" of the corpora. Name some of {', '.join(self.corpora)}."
                )

    def _check_numbers(self) -> None:
        for weights in [self.weights, *(phase.weights for phase in self.phases)]:
            negative = {
                name: weight for name, weight in weights.items() if not 0 <= weight < FOREVER
            }
            if negative or (weights and not any(weights.values())):
                raise ConfigError(
                    f"The weights {_listed(weights)} are no shares. Set each to 0 or more, and one"
                    " above 0."
                )
        if self.weigh_by not in UNITS:
            raise ConfigError(
                f"weigh_by={self.weigh_by!r} is nothing that weights are shares of"
                f"{nearest(self.weigh_by, UNITS)}. Set it to one of {', '.join(UNITS)}."
            )
        if not self.temperature > 0:
            raise ConfigError(
                f"temperature={self.temperature:g} is none. Set it above 0: 1 leaves the weights."
            )
        for name, limit in self.max_epochs.items():
            if not limit > 0:
                raise ConfigError(
                    f"max_epochs of {name}={limit:g} leaves nothing of it. Set it above 0, or leave"
                    " it out: then there is no limit."
                )

    def _check_phases(self) -> None:
        if self.phases and self.weights:
            raise ConfigError(
                "weights and phases both say how much there is of each corpus. Leave out one,"
                " or empty what another file says (weights: {})."
            )
        for number, phase in enumerate(self.phases, 1):
            ends = (phase.until_step, phase.until_fraction)
            is_last = number == len(self.phases)
            wrong = any(ends) if is_last else sum(map(bool, ends)) != 1
            if wrong or phase.until_step < 0 or not 0 <= phase.until_fraction <= 1:
                rule = (
                    "The last one ends with the run: leave both out."
                    if is_last
                    else "Set one of them: a step above 0, or a share of the run between 0 and 1."
                )
                raise ConfigError(
                    f"Phase {number} of {len(self.phases)} has until_step={phase.until_step} and"
                    f" until_fraction={phase.until_fraction:g}. {rule}"
                )
            if not phase.weights:
                raise ConfigError(f"Phase {number} has no weights. Name at least one corpus.")


def check_same_tokenizer(corpora: Mapping[str, OpenedCorpus]) -> None:
    """Checks that the corpora of a mixture were encoded alike.

    Raises:
        ConfigError: Two tokenizers differ, or what ends a document.
    """
    first, *others = corpora
    for name in others:
        if unlike := _unlike(corpora[first], corpora[name]):
            raise ConfigError(
                f"The corpora {first} ({corpora[first].path}) and {name} ({corpora[name].path})"
                f" {unlike}. Build {name} again with the first one's:"
                " tokenizer: {class_path: roots.corpus.Existing, init_args: {path: "
                f"{corpora[first].folder.tokenizer_path}}}}}."
            )


def _unlike(one: OpenedCorpus, other: OpenedCorpus) -> str:
    """Says how two corpora were encoded differently; empty where they were not."""
    ours, theirs = one.folder.manifest, other.folder.manifest
    prints = [each.tokenizer_fingerprint for each in (ours, theirs)]
    if prints[0] != prints[1]:
        return (
            f"were encoded by different tokenizers (fingerprints {prints[0][:12]} and"
            f" {prints[1][:12]}), so their ids mean different things"
        )
    if ours.eos_id != theirs.eos_id:
        tokens = one.tokenizer.tokens
        ends = [f"{tokens[each.eos_id]} (id {each.eos_id:,})" for each in (ours, theirs)]
        return (
            f"end their documents with different tokens, {ends[0]} and {ends[1]}: their"
            " tokenizer.json is the same, and eos_token in tokenizer_config.json is not"
        )
    return ""


def _listed(numbers: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {number:g}" for name, number in numbers.items())
