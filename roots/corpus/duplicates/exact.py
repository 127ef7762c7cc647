"""ExactDuplicates: the same text again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roots.corpus.duplicates.blocks import Reading, write_parts
from roots.corpus.duplicates.clusters import Clusters
from roots.corpus.duplicates.equal_keys import equal_keys
from roots.corpus.duplicates.groups import made
from roots.corpus.duplicates.normal_form import digest, normal_form
from roots.corpus.noted_pass import NotedPass, PassNotes
from roots.corpus.stage import OrderedMap
from roots.records import KEEP, Document, Drop, Verdict

_ALONE = -1
_KEYS = "keys"


class ExactDuplicates(NotedPass):
    """Keeps the first document of each text, by source order, and drops the others.

    Two texts are the same when their normal forms have the same 128-bit BLAKE2b hash. The clusters
    are written to `exact_duplicates.jsonl`: the kept id, and the dropped ones.

    Memory: 24 bytes a document on disk (2.4 GB for 10^8), 1 GB to sort, and 40 bytes for each
    document that has a copy.

    Args:
        nfc: Compose letters and their marks before comparing (Unicode NFC).
        fold_case: Compare without the difference of case.
        collapse_space: Compare with every run of white space as one space, none at the ends.
    """

    findings = ("exact_duplicates.jsonl",)

    def __init__(
        self, *, nfc: bool = True, fold_case: bool = True, collapse_space: bool = True
    ) -> None:
        self.nfc = nfc
        self.fold_case = fold_case
        self.collapse_space = collapse_space

    def decide_noted(
        self,
        documents: Callable[[], Iterator[Document]],
        scratch: Path,
        notes: PassNotes,
        ordered_map: OrderedMap,
    ) -> Iterator[Verdict]:
        """Streams one verdict per document; the reason of a drop is `exact_duplicate`."""
        reading = Reading(documents)
        self._write_keys(reading, notes, ordered_map)
        firsts = _firsts(notes.folder / _KEYS, notes.folder / "firsts")
        with closing(Clusters(notes.folder / "ids")) as clusters:
            for block in reading.blocks():
                for number, document in enumerate(block.documents, block.first):
                    yield _decided(document, number, int(firsts[number]), clusters)
            clusters.write(scratch / self.findings[0], similarities=False)

    def _write_keys(self, reading: Reading, notes: PassNotes, ordered_map: OrderedMap) -> None:
        keys_of = partial(_keys, self.nfc, self.fold_case, self.collapse_space)
        with notes.parts("keys", [_KEYS]) as parts:
            notes.tell(parts)
            if not notes.is_complete(parts):
                write = parts.files[0].write
                blocks = reading.blocks()
                write_parts(parts, blocks, keys_of, lambda _, keys: write(keys), ordered_map)


def _keys(nfc: bool, fold_case: bool, collapse_space: bool, texts: list[str]) -> bytes:
    forms = (
        normal_form(text, nfc=nfc, fold_case=fold_case, collapse_space=collapse_space)
        for text in texts
    )
    return b"".join(digest(form, 16) for form in forms)


def _firsts(keys: Path, path: Path) -> NDArray[np.int64]:
    """Writes for each document the first one with its key, or that it is alone."""
    firsts = made(path, keys.stat().st_size // 16)
    firsts[:] = _ALONE
    for equal in equal_keys(keys, width=2):
        starts = np.cumsum(equal.sizes) - equal.sizes
        firsts[equal.members] = np.repeat(equal.members[starts], equal.sizes)
    return firsts


def _decided(document: Document, number: int, first: int, clusters: Clusters) -> Verdict:
    if first == _ALONE:
        return KEEP
    clusters.remember(number, document.id)
    if first == number:
        return KEEP
    clusters.drop(number, first)
    return Drop("exact_duplicate", f"as {clusters.id_of(first)}")
