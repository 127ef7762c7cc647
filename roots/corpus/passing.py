"""A pass at work: its texts spread over the workers, and its findings taken out for the reader."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from roots.corpus.noted_pass import NotedPass, PassNotes
from roots.corpus.pool import map_in_order
from roots.corpus.stage import OrderedMap, Pass
from roots.records import Document, Verdict, class_path

A = TypeVar("A")
B = TypeVar("B")


def verdicts_of(
    part: Pass,
    documents: Callable[[], Iterator[Document]],
    scratch: Path,
    workers: int,
    notes: PassNotes | None = None,
) -> Generator[Verdict]:
    """Streams the verdicts of a pass; closed early, it closes the files of the pass.

    Args:
        part: The pass.
        documents: Gives a new stream of the same documents each time that it is called.
        scratch: An empty folder.
        workers: Processes; with 1 the work is done in this one.
        notes: What a killed pass left, for one that can go on.
    """
    ordered_map = spread_over(workers, part)
    if notes is not None and isinstance(part, NotedPass):
        yield from part.decide_noted(documents, scratch, notes, ordered_map)
    else:
        yield from part.decide(documents, scratch, ordered_map)


def spread_over(workers: int, part: Pass) -> OrderedMap:
    """Makes the map of a pass, which holds a few items per worker at a time.

    Args:
        workers: Processes; with 1 the work is done in this one.
        part: The pass, to name it when something goes wrong.
    """
    name = class_path(type(part))

    def ordered_map(function: Callable[[A], B], items: Iterable[A], /) -> Iterator[B]:
        with closing(map_in_order(items, _itself, _Apply(function, name), workers)) as pairs:
            for _, result in pairs:
                yield result

    return ordered_map


@dataclass(frozen=True)
class _Apply:
    """The job of a worker that applies a function of a pass.

    Args:
        function: The function.
        name: The pass.
    """

    function: Callable[[Any], Any]
    name: str

    def open(self) -> Callable[[Any], Any]:
        """Gives the function."""
        return self.function

    def failed(self, item: Any, why: str) -> str:
        """Names the pass; what it gives to the function is its own."""
        size = f" of {len(item):,} texts" if isinstance(item, list) else ""
        return (
            f"{self.name} failed on a block{size}: {why}. Run with workers: 1 for the whole trace."
        )


def _itself(item: A) -> A:
    return item


def take_findings(
    part: Pass, scratch: Path, folder: Path, redact: Callable[[str], str]
) -> list[str]:
    """Copies the findings of a pass, without what must not be written anywhere.

    Args:
        part: A pass that has given its last verdict.
        scratch: Where it left them.
        folder: Where to; a name that is taken there gets a number.
        redact: Takes out of a text what must not be written.

    Returns:
        The names of the new files.
    """
    names = []
    for name in part.findings:
        path = _free(folder / name)
        if part.quotes:
            _copy_redacted(scratch / name, path, part.quotes, redact)
        else:
            shutil.copyfile(scratch / name, path)
        names.append(path.name)
    return names


def _free(path: Path) -> Path:
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def _copy_redacted(
    source: Path, path: Path, quotes: tuple[str, ...], redact: Callable[[str], str]
) -> None:
    encoding = {"encoding": "utf-8", "errors": "surrogatepass", "newline": ""}
    with source.open(**encoding) as lines, path.open("w", **encoding) as file:  # type: ignore[call-overload]
        for line in lines:
            record = json.loads(line)
            record |= {key: redact(record[key]) for key in quotes if key in record}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
