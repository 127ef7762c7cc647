"""Two recipes compared: which settings of a corpus changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

EMPTY: tuple[Any, ...] = ([], "", None, False)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Lists the settings in which two recipes differ, as `name: old → new`.

    A setting that the old one does not know and that is empty in the new one asks for nothing.
    """
    before, after = dict(_leaves(old)), dict(_leaves(new))
    names = sorted(before.keys() | after.keys())
    return [
        f"{name}: {before.get(name)} → {after.get(name)}"
        for name in names
        if before.get(name) != after.get(name) and (name in before or after[name] not in EMPTY)
    ]


def _leaves(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        name = f"{prefix}.{key}" if prefix else key
        if isinstance(each, Mapping):
            yield from _leaves(each, name.removesuffix(".init_args"))
        elif isinstance(each, list) and any(isinstance(item, Mapping) for item in each):
            numbered = {str(number): item for number, item in enumerate(each, 1)}
            yield from _leaves(numbered, name)
        else:
            yield name, each
