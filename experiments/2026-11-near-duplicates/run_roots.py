"""NearDuplicates on a JSON-lines file: writes the ids of the dropped documents."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from roots.corpus.duplicates import NearDuplicates
from roots.records import Document
from roots.sources import Jsonl


class Documents:
    """The documents of the file, each time anew."""

    def __init__(self, path: str) -> None:
        self.source = Jsonl(paths=path, id_field="id")

    def __iter__(self) -> Iterator[Document]:
        return self.source.documents()


def main(corpus: str, out: str) -> None:
    near = NearDuplicates(threshold=0.8)
    with TemporaryDirectory(dir=Path(out).parent) as folder, Path(out).open("w") as file:
        for decision in near.decide(Documents(corpus), Path(folder)):
            if decision.dropped:
                file.write(decision.document.id + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
