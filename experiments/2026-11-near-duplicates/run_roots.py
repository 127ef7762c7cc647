"""NearDuplicates on a JSON-lines file: writes the ids of the dropped documents."""

from __future__ import annotations

import json
import sys
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory

from roots.corpus.duplicates import NearDuplicates
from roots.sources import Jsonl


def main(corpus: str, out: str) -> None:
    near = NearDuplicates(threshold=0.8)
    source = Jsonl(paths=corpus, id_field="id")
    with TemporaryDirectory(dir=Path(out).parent) as scratch, Path(out).open("w") as file:
        deque(near.decide(source.documents, Path(scratch)), maxlen=0)
        for line in (Path(scratch) / near.findings[0]).open(encoding="utf-8"):
            file.writelines(name + "\n" for name in json.loads(line)["dropped"])


if __name__ == "__main__":
    main(*sys.argv[1:])
