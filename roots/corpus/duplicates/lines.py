"""RepeatedLines: lines or paragraphs that occur in many documents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.blocks import Reading, all_texts, mapped
from roots.corpus.duplicates.equal_keys import frequent_keys
from roots.corpus.duplicates.normal_form import normal_form
from roots.corpus.duplicates.shingles import Hashes, distinct, hashes_of
from roots.corpus.stage import OrderedMap, Pass
from roots.errors import ConfigError
from roots.records import KEEP, Document, Drop, Edit, Verdict

_ENDS = {"line": re.compile(r"(\n)"), "paragraph": re.compile(r"(\n(?:[^\S\n]*\n)+)")}


class RepeatedLines(Pass):
    """Cuts lines that occur in many documents: menus, cookie notices, licences.

    A line is compared in lower case, with each run of white space as one space. It counts once per
    document; a line in more than `max_documents` documents is cut everywhere, also where it came
    first, because what stands on thousands of pages says nothing about one of them. A document
    of which nothing but white space remains is dropped. The lines that were cut are written to
    `repeated_lines.jsonl`, with the number of documents that hold them.

    Memory: 8 bytes on disk per line and document that holds it (24 GB for 10^8 documents of 30
    lines), 1 GB to sort, and 17 bytes for each line that is cut.

    Args:
        max_documents: Documents that may hold the same line, 1 or more.
        unit: What is compared and cut: a `line`, or a `paragraph` (what blank lines part).
        min_characters: Shorter lines, such as `else:`, stay whatever their number.

    Raises:
        ConfigError: A setting is out of its range.

    Source:
        Wenzek et al. (CCNet), LREC 2020, section 3.1, for paragraphs by 64-bit hashes. There any
        second occurrence is cut within 5 GB of text, and digits and accents are ignored.
    """

    findings = ("repeated_lines.jsonl",)
    quotes = ("line",)

    def __init__(
        self,
        *,
        max_documents: int = 10,
        unit: Literal["line", "paragraph"] = "line",
        min_characters: int = 20,
    ) -> None:
        if max_documents < 1 or min_characters < 0:
            raise ConfigError(
                f"max_documents={max_documents} must be 1 or more, and min_characters="
                f"{min_characters} must be 0 or more. Leave them out for 10 and 20."
            )
        if unit not in _ENDS:
            raise ConfigError(f"unit='{unit}' is none of {', '.join(_ENDS)}. Take one.")
        self.max_documents = max_documents
        self.unit = unit
        self.min_characters = min_characters

    def decide(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        ordered_map: OrderedMap = map,
    ) -> Iterator[Verdict]:
        """Streams one verdict per document; an edit counts the lines that were cut."""
        reading = Reading(documents)
        with TemporaryDirectory(dir=scratch, prefix=".lines-") as name:
            path = Path(name) / "lines"
            with path.open("wb") as file:
                for _, hashes in self._hashed(reading, ordered_map):
                    file.write(distinct(hashes).tobytes())
            repeated = _Repeated(path, self.max_documents)
        findings = scratch / self.findings[0]
        with findings.open("w", encoding="utf-8", errors="surrogatepass") as found:
            for document, hashes in self._hashed(reading, ordered_map):
                yield self._cut(document, hashes, repeated, found)

    def _hashed(
        self, reading: Reading, ordered_map: OrderedMap
    ) -> Iterator[tuple[Document, Hashes]]:
        """Reads the documents, each with the hashes of its lines that are long enough."""
        hashes_of = partial(_line_hashes, self.unit, self.min_characters)
        for block, lists in mapped(reading.blocks(), all_texts, hashes_of, ordered_map):
            yield from zip(block, lists, strict=True)

    def _cut(
        self, document: Document, hashes: Hashes, repeated: _Repeated, found: TextIO
    ) -> Verdict:
        places = repeated.places(hashes)
        if (places < 0).all():
            return KEEP
        parts = _ENDS[self.unit].split(document.text)
        compared = _compared(document.text, self.unit, self.min_characters)
        cut = [(compared[j][0], int(places[j])) for j in np.flatnonzero(places >= 0)]
        for i, place in cut:
            if count := repeated.first_seen(place):
                line = {"line": parts[i], "documents": count}
                found.write(json.dumps(line, ensure_ascii=False) + "\n")
            parts[i : i + 2] = [""] * len(parts[i : i + 2])
        text = "".join(parts)
        if not text.strip():
            return Drop(f"only_repeated_{self.unit}s", f"{len(cut):,} cut")
        return Edit(replace(document, text=text), {f"repeated_{self.unit}": len(cut)})


class _Repeated:
    """The hashes that occur in too many documents."""

    def __init__(self, path: Path, max_documents: int) -> None:
        self._keys, self._counts = frequent_keys(path, max_documents)

    def places(self, hashes: Hashes) -> NDArray[np.int64]:
        """Finds each hash: its place, or -1 when it is not repeated."""
        if not len(self._keys):
            return np.full(len(hashes), -1)
        places = np.minimum(np.searchsorted(self._keys, hashes), len(self._keys) - 1)
        return np.where(self._keys[places] == hashes, places, -1)

    def first_seen(self, place: int) -> int:
        """Tells how many documents hold the line, the first time that it is asked; then 0."""
        count = int(self._counts[place])
        self._counts[place] = 0
        return count


def _compared(text: str, unit: str, min_characters: int) -> list[tuple[int, str]]:
    """Lists the units that are long enough: their place among the parts, and their normal form."""
    folded = normal_form(text, nfc=True, fold_case=True, collapse_space=False)
    forms = (
        (2 * i, " ".join(part.split()))
        for i, part in enumerate(_ENDS[unit].split(folded)[::2])
        if len(part) >= min_characters
    )
    return [(i, form) for i, form in forms if form and len(form) >= min_characters]


def _line_hashes(unit: str, min_characters: int, texts: list[str]) -> list[Hashes]:
    forms = [[form for _, form in _compared(text, unit, min_characters)] for text in texts]
    hashes = hashes_of(list(chain.from_iterable(forms)))
    return np.split(hashes, np.cumsum([len(each) for each in forms])[:-1])
