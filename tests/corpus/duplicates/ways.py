"""Ways to spread work that must not change any decision."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from roots.corpus.stage import Pass
from roots.records import Document, Drop, Edit, Verdict


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

    def __call__(self) -> Iterator[Document]:
        self.readings += 1
        for i, text in enumerate(self.texts):
            yield Document(text=text, id=f"d{i}", metadata={"place": i})


def decided(corpus_pass: Pass, texts: Iterable[str], folder: Path, **given: Any) -> list[Verdict]:
    """Runs a pass; every document is decided on, and nothing but its findings is left."""
    folder.mkdir(parents=True, exist_ok=True)
    documents = Listed(texts)
    verdicts = list(corpus_pass.decide(documents, folder, **given))
    assert len(verdicts) == len(documents.texts)
    assert {path.name for path in folder.iterdir() if path.is_file()} >= set(corpus_pass.findings)
    assert not list(folder.glob(".*"))
    return verdicts


def dropped(verdicts: Iterable[Verdict]) -> list[int]:
    """The places of the dropped documents."""
    return [i for i, verdict in enumerate(verdicts) if isinstance(verdict, Drop)]


def outcome(text: str, verdict: Verdict) -> tuple[str | None, dict[str, int]]:
    """What became of a text, None when it is dropped, and what was counted."""
    if isinstance(verdict, Drop):
        return None, {}
    return verdict.document.text if isinstance(verdict, Edit) else text, dict(verdict.counts)
