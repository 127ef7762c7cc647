"""A pipeline cut before each pass, because what comes into a pass is put on disk."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from roots.corpus.stage import Part, Pass, Stage


class Segment(NamedTuple):
    """A pass, or the source where there is none, and the stages up to the next pass.

    Args:
        part: The pass.
        first: Its row in the books, or that of the source.
        stages: What follows it.
    """

    part: Pass | None
    first: int
    stages: tuple[Stage, ...]

    @property
    def first_stage(self) -> int:
        """The row of the first stage in the books."""
        return self.first + 1


def segments(parts: Sequence[Part]) -> list[Segment]:
    """Cuts a pipeline: the first segment begins with the source, each other with a pass."""
    cuts = [0, *(place for place, part in enumerate(parts) if isinstance(part, Pass)), len(parts)]
    found = [Segment(None, 0, _stages(parts[: cuts[1]]))]
    for start, stop in pairwise(cuts[1:]):
        part = parts[start]
        assert isinstance(part, Pass)
        found.append(Segment(part, start + 1, _stages(parts[start + 1 : stop])))
    return found


def _stages(parts: Sequence[Part]) -> tuple[Stage, ...]:
    return tuple(part for part in parts if isinstance(part, Stage))
