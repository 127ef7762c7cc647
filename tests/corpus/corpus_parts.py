"""Stages and passes for tests, in a module of their own so that workers can import them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from roots.corpus import OrderedMap, Pass, Stage
from roots.records import KEEP, Document, Drop, Edit, Verdict


class Even(Stage):
    """Drops texts of an odd length, and cuts the last character off those that are left."""

    def __init__(self, *, words: str = "odd") -> None:
        self.words = words

    def __call__(self, document: Document) -> Verdict:
        if len(document.text) % 2:
            return Drop(self.words, f"{len(document.text)} characters")
        shorter = dataclasses.replace(document, text=document.text[:-1])
        return Edit(shorter, {"cut": 1})


class Failing(Stage):
    """Fails on a text that holds `bad`."""

    def __call__(self, document: Document) -> Verdict:
        if "bad" in document.text:
            raise KeyError("no such thing")
        return KEEP


class Copies(Pass):
    """Drops all but the first of equal texts, and leaves a file in its scratch folder."""

    def decide(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        ordered_map: OrderedMap = map,
    ) -> Iterator[Verdict]:
        total = sum(1 for _ in documents())
        (scratch / "total").write_text(str(total))
        seen: set[str] = set()
        for document in documents():
            yield Drop("copy") if document.text in seen else KEEP
            seen.add(document.text)


class Short(Copies):
    """A pass that forgets the last document."""

    def decide(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        ordered_map: OrderedMap = map,
    ) -> Iterator[Verdict]:
        yield from list(super().decide(documents, scratch))[:-1]
