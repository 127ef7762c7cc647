"""Which spans of a sequence are entities, by its tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from roots.errors import ConfigError, nearest

OUTSIDE = "O"


class Entity(NamedTuple):
    """One entity: its type, its first position, and the position after its last."""

    type: str
    start: int
    end: int


class Tag(NamedTuple):
    """One tag, cut in two: where in an entity it stands (B, I, E, S, or O), and the type."""

    place: str
    type: str


def entities_of(tags: Sequence[str], scheme: str = "conll") -> set[Entity]:
    """Finds the entities of one sequence.

    Args:
        tags: `O`, and `B-PER` and the like; a bare `B` or `I` is of the type `_`, as in seqeval.
        scheme: `conll` (lenient: wherever a type begins or changes, an entity begins), `iob2`
            (strict: it begins with B and goes on with I of the same type) or `iobes` (strict: S
            alone, or B, I of the same type, E).

    Raises:
        ConfigError: There is no such scheme, or a tag is none of it.

    Source:
        conlleval.pl of CoNLL-2000, as seqeval's default mode has it; seqeval's strict mode.
    """
    cut = [split_tag(tag, scheme) for tag in tags]
    return set(_FINDERS[scheme](cut))


@cache
def split_tag(tag: str, scheme: str) -> Tag:
    """Cuts a tag at its first hyphen.

    Raises:
        ConfigError: There is no such scheme, or the tag is none of it.
    """
    check_scheme(scheme)
    place, _, kind = tag.partition("-")
    allowed = _PLACES[scheme]
    if tag != OUTSIDE and place not in list(allowed):
        raise ConfigError(
            f"{tag!r} is no tag of the scheme {scheme}. Name tags {OUTSIDE}, or one of"
            f" {', '.join(allowed)} with a type, like {allowed[0]}-PER."
        )
    return Tag(place, kind or "_")


def check_scheme(scheme: str) -> None:
    """Refuses what is no scheme."""
    if scheme not in _FINDERS:
        raise ConfigError(
            f"There is no tag scheme {scheme!r}{nearest(scheme, _FINDERS)}."
            f" Set scheme to one of {', '.join(_FINDERS)}."
        )


def _conll(tags: Sequence[Tag]) -> Iterator[Entity]:
    before, start = Tag(OUTSIDE, "_"), 0
    for position, tag in enumerate([*tags, Tag(OUTSIDE, "_")]):
        if _ends(before, tag):
            yield Entity(before.type, start, position)
        if _begins(before, tag):
            start = position
        before = tag


def _ends(before: Tag, tag: Tag) -> bool:
    if before.place == OUTSIDE:
        return False
    return before.place in "ES" or tag.place in "BSO" or before.type != tag.type


def _begins(before: Tag, tag: Tag) -> bool:
    if tag.place == OUTSIDE:
        return False
    return before.place in "ESO" or tag.place in "BS" or before.type != tag.type


def _iob2(tags: Sequence[Tag]) -> Iterator[Entity]:
    for start, first in enumerate(tags):
        if first.place == "B":
            end = _end_of_inside(tags, start)
            yield Entity(first.type, start, end)


def _iobes(tags: Sequence[Tag]) -> Iterator[Entity]:
    for start, first in enumerate(tags):
        if first.place == "S":
            yield Entity(first.type, start, start + 1)
        if first.place == "B":
            end = _end_of_inside(tags, start)
            if end < len(tags) and tags[end] == ("E", first.type):
                yield Entity(first.type, start, end + 1)


def _end_of_inside(tags: Sequence[Tag], start: int) -> int:
    """The position after the I's of the same type that follow `start`."""
    end = start + 1
    while end < len(tags) and tags[end] == ("I", tags[start].type):
        end += 1
    return end


_FINDERS: dict[str, Callable[[Sequence[Tag]], Iterator[Entity]]] = {
    "conll": _conll,
    "iob2": _iob2,
    "iobes": _iobes,
}
_PLACES = {"conll": "BIES", "iob2": "BI", "iobes": "BIES"}  # beside O
