"""Which documents fell for which kept one, as a file to look at."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


class Clusters:
    """Remembers the ids of documents on disk, and who fell for whom, at 40 bytes of memory each.

    Args:
        scratch: The file to keep ids in; it is made.
    """

    def __init__(self, scratch: Path) -> None:
        self._file = scratch.open("w+b")
        self._numbers, self._ends = array("q"), array("q", [0])
        self._kept, self._dropped, self._similarities = array("q"), array("q"), array("d")

    def remember(self, number: int, document_id: str) -> None:
        """Notes the id of a document that is kept or dropped here; numbers come in order."""
        raw = document_id.encode("utf-8", "surrogatepass")
        self._file.write(raw)
        self._numbers.append(number)
        self._ends.append(self._ends[-1] + len(raw))

    def id_of(self, number: int) -> str:
        """Gives back the id of a remembered document."""
        place = bisect_left(self._numbers, number)
        start, end = self._ends[place], self._ends[place + 1]
        self._file.seek(start)
        raw = self._file.read(end - start)
        self._file.seek(0, 2)
        return raw.decode("utf-8", "surrogatepass")

    def drop(self, number: int, kept: int, similarity: float = 1.0) -> None:
        """Notes that a document fell for a kept one; both are remembered."""
        self._dropped.append(number)
        self._kept.append(kept)
        self._similarities.append(similarity)

    def write(self, path: Path, *, similarities: bool) -> None:
        """Writes a line per kept document: its id, and the ids that fell for it, in order.

        Args:
            path: The `.jsonl` file.
            similarities: Whether their Jaccard similarities to the kept one are written, too.
        """
        kept = np.array(self._kept, np.int64)
        order = np.argsort(kept, kind="stable")
        starts = np.flatnonzero(np.diff(kept[order], prepend=-1, append=-1))
        with path.open("w", encoding="utf-8", errors="surrogatepass") as file:
            for start, stop in pairwise(starts):
                places = order[start:stop].tolist()
                line: dict[str, Any] = {
                    "kept": self.id_of(self._kept[places[0]]),
                    "dropped": [self.id_of(self._dropped[place]) for place in places],
                }
                if similarities:
                    line["jaccard"] = [round(self._similarities[place], 4) for place in places]
                file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Closes the file of ids."""
        self._file.close()
