"""Ways to spread work that must not change any decision."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from roots.corpus.duplicates import CorpusPass, Decision
from roots.records import Document


class Ahead:
    """An ordered map that hands an executor a few items ahead."""

    def __init__(self, executor: Executor, ahead: int) -> None:
        self.executor, self.ahead = executor, ahead

    def __call__(self, function: Callable, items: Iterable) -> Iterator[Any]:
        waiting: deque = deque()
        for item in items:
            waiting.append(self.executor.submit(function, item))
            if len(waiting) > self.ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class Listed:
    """Documents of a list, each time anew."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts, self.readings = list(texts), 0

    def __iter__(self) -> Iterator[Document]:
        self.readings += 1
        for i, text in enumerate(self.texts):
            yield Document(text=text, id=f"d{i}", metadata={"place": i})


def decided(
    corpus_pass: CorpusPass, texts: Iterable[str], folder: Path, **given: Any
) -> list[Decision]:
    """Runs a pass; every document is decided on, in order, and no scratch file is left."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = Listed(texts)
    decisions = list(corpus_pass.decide(documents, folder, **given))
    assert [each.document.id for each in decisions] == [f"d{i}" for i in range(len(decisions))]
    assert len(decisions) == len(documents.texts)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
    return decisions


def dropped(decisions: Iterable[Decision]) -> list[int]:
    """The places of the dropped documents."""
    return [i for i, decision in enumerate(decisions) if decision.dropped]
