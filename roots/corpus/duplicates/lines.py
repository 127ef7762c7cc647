"""RepeatedLines: lines or paragraphs that occur in many documents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Literal, TextIO

import numpy as np

from roots.corpus.duplicates.blocks import Block, Reading, mapped, noted, write_parts
from roots.corpus.duplicates.equal_keys import frequent_keys
from roots.corpus.duplicates.normal_form import normal_form
from roots.corpus.duplicates.shingles import Hashes, distinct, hashes_of
from roots.corpus.noted_pass import NotedPass, PassNotes
from roots.corpus.stage import OrderedMap
from roots.errors import ConfigError
from roots.records import KEEP, Document, Drop, Edit, Verdict

_RANGE_BITS = 6
_Places = list[tuple[int, int]]

_ENDS = {"line": re.compile(r"(\n)"), "paragraph": re.compile(r"(\n(?:[^\S\n]*\n)+)")}


class RepeatedLines(NotedPass):
    """Cuts lines that occur in many documents: menus, cookie notices, licences.

    A line is compared in lower case, with each run of white space as one space. It counts once per
    document; a line in more than `max_documents` documents is cut everywhere, also where it came
    first, because what stands on thousands of pages says nothing about one of them. A document
    of which nothing but white space remains is dropped. The lines that were cut are written to
    `repeated_lines.jsonl`, with the number of documents that hold them.

    Memory: 8 bytes on disk per line and document that holds it (24 GB for 10^8 documents of 30
    lines), 1 GB to sort, 17 bytes for each line that is cut, and on disk 20 bytes for each place
    that it is cut from.

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

    def decide_noted(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        notes: PassNotes,
        ordered_map: OrderedMap,
    ) -> Iterator[Verdict]:
        """Streams one verdict per document; an edit counts the lines that were cut."""
        reading = Reading(documents)
        repeated = self._repeated(reading, notes, ordered_map)
        hashes_of = partial(_line_hashes, self.unit, self.min_characters)

        def make(blocks: Iterator[Block]) -> Iterator[tuple[Block, list[_Places]]]:
            for block, lists in mapped(blocks, Block.texts, hashes_of, ordered_map):
                yield block, [repeated.places(hashes) for hashes in lists]

        findings = scratch / self.findings[0]
        with (
            notes.parts("decisions", ["decisions"]) as parts,
            findings.open("w", encoding="utf-8", errors="surrogatepass") as found,
        ):
            notes.tell(parts)
            for block, cuts in noted(parts, reading.blocks(), make):
                for document, places in zip(block.documents, cuts, strict=True):
                    yield self._cut(document, places, repeated, found)

    def _repeated(self, reading: Reading, notes: PassNotes, ordered_map: OrderedMap) -> _Repeated:
        """Finds which lines occur in too many documents, range by range of their hashes."""
        paths = [notes.folder / f"lines-{number:02d}" for number in range(2**_RANGE_BITS)]
        with notes.parts("counts", ["repeated"]) as parts:
            if parts.n:
                notes.tell_of("counts", parts.n, len(paths), "ranges of hashes")
            if parts.n < len(paths):
                self._write_lines(reading, notes, parts.n, paths, ordered_map)
            for number, path in enumerate(paths):
                if number >= parts.n:
                    keys, counts = frequent_keys(path, self.max_documents, same_bits=_RANGE_BITS)
                    pairs = np.stack((keys, counts.astype(np.uint64)), axis=1)
                    parts.files[0].write(pairs.tobytes())
                    parts.note()
                path.unlink(missing_ok=True)
        return _Repeated(notes.folder / "repeated")

    def _write_lines(
        self,
        reading: Reading,
        notes: PassNotes,
        first: int,
        paths: list[Path],
        ordered_map: OrderedMap,
    ) -> None:
        """Writes the hashes of the lines that are long enough, each once per document.

        Each range has a file, from the `first` on, so that none is read for what is not in it.
        """
        hashes_of = partial(_line_hashes, self.unit, self.min_characters)
        edges = np.arange(1, len(paths), dtype=np.uint64) << np.uint64(64 - _RANGE_BITS)
        with notes.parts("lines", [path.name for path in paths[first:]]) as parts:
            notes.tell(parts)

            def write(_: Block, lists: list[Hashes]) -> None:
                hashes = np.sort(np.concatenate(list(map(distinct, lists))))
                ranges = np.split(hashes, np.searchsorted(hashes, edges))
                for file, each in zip(parts.files, ranges[first:], strict=True):
                    file.write(each.tobytes())

            if not notes.is_complete(parts):
                write_parts(parts, reading.blocks(), hashes_of, write, ordered_map)

    def _cut(
        self, document: Document, places: _Places, repeated: _Repeated, found: TextIO
    ) -> Verdict:
        if not places:
            return KEEP
        parts = _ENDS[self.unit].split(document.text)
        compared = _compared(document.text, self.unit, self.min_characters)
        for line, place in places:
            i = compared[line][0]
            if count := repeated.first_seen(place):
                record = {"line": parts[i], "documents": count}
                found.write(json.dumps(record, ensure_ascii=False) + "\n")
            parts[i : i + 2] = [""] * len(parts[i : i + 2])
        text = "".join(parts)
        if not text.strip():
            return Drop(f"only_repeated_{self.unit}s", f"{len(places):,} cut")
        return Edit(replace(document, text=text), {f"repeated_{self.unit}": len(places)})


class _Repeated:
    """The hashes that occur in too many documents.

    Args:
        path: The file of them, ascending, each with how many documents hold it.
    """

    def __init__(self, path: Path) -> None:
        self._keys, self._counts = np.fromfile(path, np.uint64).reshape(-1, 2).T.copy()

    def places(self, hashes: Hashes) -> _Places:
        """Finds which of the hashes are repeated: their number, and their place here."""
        if not len(self._keys):
            return []
        places = np.minimum(np.searchsorted(self._keys, hashes), len(self._keys) - 1)
        found = np.flatnonzero(self._keys[places] == hashes)
        return list(zip(found.tolist(), places[found].tolist(), strict=True))

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
