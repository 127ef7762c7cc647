"""The phases of a mixture around a step: which were behind it, which come, and which never do."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import yaml

from roots.data.mixture import Changes

ENDLESS = sys.maxsize
"""Where the last phase ends: with the run, however long that is."""


def phases_until(step: int, changes: Changes) -> list[dict[str, Any]]:
    """Gives the phases of the steps before `step`, the last of which ends with it."""
    return [
        {"weights": dict(weights), "until_step": min(end, step)}
        for begin, end, weights in _stretches(changes)
        if begin < min(end, step)
    ]


def phases_after(step: int, changes: Changes) -> list[dict[str, Any]]:
    """Gives the phases that hold behind `step`."""
    return [
        {"weights": dict(weights), **({} if end == ENDLESS else {"until_step": end})}
        for begin, end, weights in _stretches(changes)
        if end > max(begin, step)
    ]


def unused(changes: Changes, total_steps: int) -> list[str]:
    """Says which phases have no step in a run of so many."""
    words = []
    for number, (begin, end, _) in enumerate(_stretches(changes), 1):
        which = f"phase {number:,} of {len(changes):,} of the mixture has no step"
        if begin >= total_steps:
            words.append(f"{which}: it begins after step {begin:,}, and the run ends by then")
        elif end <= begin:
            words.append(f"{which}: it begins and ends with step {begin:,}")
    return words


def way_to_change(step: int, before: Sequence[Mapping[str, Any]] | None, changes: Changes) -> str:
    """Words how a run goes on behind `step` with the weights of `changes`.

    Args:
        step: The step.
        before: The phases of the run until then, as a checkpoint notes them; None where it is of
            an older version, which noted none.
        changes: The weights that are asked for.
    """
    if before is None:
        return (
            "set phases, the first of them with the old weights (of a run that had none: the sizes"
            f" of the corpora) and until_step: {step}, and empty the weights (weights: {{}})."
        )
    phases = [*before, *phases_after(step, changes)]
    text = yaml.safe_dump(phases, default_flow_style=True, sort_keys=False, width=sys.maxsize)
    given = shlex.quote(f"--data.shards.phases={text.strip()}")
    return f"resume with --data.shards.weights={{}} {given}"


def _stretches(changes: Changes) -> Iterator[tuple[int, int, Mapping[str, float]]]:
    """Yields where each stretch of the same weights begins and ends, and the weights."""
    begins = [*(begin for begin, _ in changes), ENDLESS]
    for (begin, end), (_, weights) in zip(pairwise(begins), changes, strict=True):
        yield begin, end, weights
